import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseKeyListing, webKeyDirectoryUrls } from './gpg-key.ts';

function userOf(id: string): { name: string; email: string; id: string } {
  const [key] = parseKeyListing(`pub:-:255:22:0123456789ABCDEF:1:::-:::sc::::::\nuid:-::::1::X::${id}::::::::::0:\n`);
  const { name, email, id: whole } = key!.users[0]!;
  return { name, email, id: whole };
}

test('user ids are taken apart as gpgme does', () => {
  assert.deepEqual(userOf('Ann (of tests) <a@b.c>'), { name: 'Ann', email: 'a@b.c', id: 'Ann (of tests) <a@b.c>' });
  assert.deepEqual(userOf('Test Key 1'), { name: 'Test Key 1', email: '', id: 'Test Key 1' });
  assert.deepEqual(userOf('<a@b.c>'), { name: '', email: 'a@b.c', id: '<a@b.c>' });
  assert.deepEqual(userOf('A\\x3a B'), { name: 'A: B', email: '', id: 'A: B' });
  assert.equal(userOf('S\\xc3\\xbc\\xc3\\x9f').name, 'Süß');
  // What could move a terminal's cursor stays written out.
  assert.equal(userOf('A\\x1b[2J').name, 'A\\x1b[2J');
  assert.equal(userOf(`${' '.repeat(100_000)}x`).name.length, 100_001);
});

test('keys are looked up where the web key directory of their address is', () => {
  assert.deepEqual(webKeyDirectoryUrls('Joe.Doe@Example.ORG'), {
    // The example of the draft.
    advanced:
      'https://openpgpkey.Example.ORG/.well-known/openpgpkey/example.org/hu/iy9q119eutrkn8s1mk4r39qejnbu3n5q?l=Joe.Doe',
    direct: 'https://Example.ORG/.well-known/openpgpkey/hu/iy9q119eutrkn8s1mk4r39qejnbu3n5q?l=Joe.Doe',
  });
  for (const none of ['', 'a', 'a@b@c', '@b', 'a@']) assert.equal(webKeyDirectoryUrls(none), null);
});
