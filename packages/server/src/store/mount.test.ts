import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { promisify } from 'node:util';
import { withTransaction, writeCommit } from '@treeline/ostree';
import { authenticatorOf } from '../testing/callers.ts';
import { createTestCore } from '../testing/core.ts';
import { scratch } from '../testing/scratch.ts';
import { storeMount } from './mount.ts';

const run = promisify(execFile);

async function served(t: TestContext) {
  const core = await createTestCore(t);
  const commit = await withTransaction(core.store, (tx) =>
    writeCommit(tx, { tree: tx.emptyTree(), subject: 'secret' }),
  );
  const handle = storeMount({ core, authenticator: authenticatorOf({ ana: ['read'], bob: ['publish', 'operate'] }) });
  const server = createServer((req, res) => {
    if (!handle(req, res)) res.writeHead(418).end();
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.after(() => server.close());
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const ask = (path: string, token?: string, method = 'GET') =>
    fetch(`${url}${path}`, { method, headers: token === undefined ? {} : { authorization: `Bearer ${token}` } });
  return { commit, url, ask };
}

test('the store is there for who may read it, and a stock client pulls from it', async (t) => {
  const { commit, url, ask } = await served(t);
  const object = `/api/v1/store/objects/${commit.slice(0, 2)}/${commit.slice(2)}.commit`;
  const answer = await ask(object, 'ana');
  assert.equal(answer.status, 200);
  assert.match(answer.headers.get('cache-control') ?? '', /private/, 'no shared cache keeps it');
  const repo = join(scratch(t), 'repo');
  await run('ostree', ['init', `--repo=${repo}`, '--mode=archive']);
  await run('ostree', ['remote', 'add', `--repo=${repo}`, '--no-gpg-verify', 'store', `${url}/api/v1/store`]);
  await run('ostree', ['pull', `--repo=${repo}`, '--http-header=Authorization=Bearer ana', 'store', commit]);
  await run('ostree', ['fsck', `--repo=${repo}`]);
});

test('nobody else learns what is in it, not even whether something is', async (t) => {
  const { commit, ask } = await served(t);
  const paths = [
    `objects/${commit.slice(0, 2)}/${commit.slice(2)}.commit`,
    `objects/ab/${'c'.repeat(62)}.commit`,
    'config',
    'refs/heads/x',
    '../runs',
  ];
  for (const path of paths) {
    for (const [token, status] of [
      [undefined, 401],
      ['mallory', 401],
      ['bob', 403],
    ] as const) {
      const answer = await ask(`/api/v1/store/${path}`, token);
      if (path === '../runs') assert.equal(answer.status, 418, 'is another path');
      else assert.equal(answer.status, status, `${path} for ${token}`);
    }
  }
  assert.equal((await ask('/api/v1/store/config', 'ana', 'PUT')).status, 418, 'is for the API');
  assert.equal((await ask('/api/v1/store/tmp/x', 'ana')).status, 404);
});
