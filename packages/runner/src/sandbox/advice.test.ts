import assert from 'node:assert/strict';
import { test } from 'node:test';
import { sandboxAdvice } from './advice.ts';

test('advice is given where the sandbox is the likely cause, and only there', () => {
  const offline = { network: false };
  assert.match(sandboxAdvice('sh: 1: cannot create /usr/x: Read-only file system\n', offline) ?? '', /\/src, \/out/);
  for (const said of [
    'curl: (6) Could not resolve host: example.org',
    'ssh: Could not resolve hostname example.org: Temporary failure in name resolution',
    'OSError: [Errno 101] Network is unreachable',
    'getaddrinfo EAI_AGAIN registry.npmjs.org',
  ]) {
    assert.match(sandboxAdvice(said, offline) ?? '', /network: true/, said);
    assert.equal(sandboxAdvice(said, { network: true }), null, said);
  }
  assert.equal(sandboxAdvice('1 test failed\n', offline), null);
});
