import assert from 'node:assert/strict';
import { access, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { createFixture, type Fixture } from '../testing/fixture.ts';
import { enrol } from './enrol.ts';
import { boardPaths, readIdentity } from './identity.ts';

let fixture: Fixture;
before(async () => {
  fixture = await createFixture({ memory: true });
});
after(() => fixture.close());

const request = (board: string, more: object = {}) => ({
  board: join(fixture.dir, board),
  gateway: fixture.url,
  token: fixture.token,
  id: `id-${board}`,
  ...more,
});

test('a key made on the board becomes a certificate; the key stays private', async () => {
  const identity = await enrol(request('one'));
  assert.deepEqual([identity.id, identity.channel, identity.repository], ['id-one', 'robot/edge', 'public']);
  const paths = boardPaths(join(fixture.dir, 'one'));
  assert.equal((await stat(paths.key)).mode & 0o777, 0o600);
  assert.deepEqual(await readIdentity(join(fixture.dir, 'one')), identity);
  await assert.rejects(enrol(request('one')), { code: 'already-enrolled' });
});

test('a refused token leaves no identity, and a second try uses the same key', async () => {
  const wrong = `${'x'.repeat(20)}.${fixture.token.split('.')[1]}`;
  await assert.rejects(enrol(request('two', { token: wrong })), (error: { code: string; message: string }) => {
    assert.equal(error.code, 'enrolment-refused');
    assert.match(error.message, /no such token/);
    return true;
  });
  assert.equal(await readIdentity(join(fixture.dir, 'two')), null);
  const { key } = boardPaths(join(fixture.dir, 'two'));
  const before = await readFile(key, 'utf8');
  await enrol(request('two'));
  assert.equal(await readFile(key, 'utf8'), before);
});

test('a server with another CA than the token names is told nothing', async () => {
  const impostor = await createFixture({ memory: true });
  try {
    await assert.rejects(enrol(request('three', { gateway: impostor.url })), { code: 'pin-mismatch' });
    assert.equal(impostor.requests, 0);
  } finally {
    await impostor.close();
  }
});

test('mistakes are explained before anything is made', async () => {
  for (const [more, code] of [
    [{ token: 'no-pin' }, 'invalid'],
    [{ id: 'a/b' }, 'invalid'],
    [{ gateway: 'http://127.0.0.1:1' }, 'invalid'],
    [{ gateway: 'nonsense' }, 'invalid'],
    [{ gateway: 'https://127.0.0.1:1' }, 'unreachable'],
  ] as const) {
    await assert.rejects(enrol(request('four', more)), { code });
  }
  await assert.rejects(access(boardPaths(join(fixture.dir, 'four')).identity));
});
