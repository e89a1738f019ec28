import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { createPointers, createRegistry } from '../devices/index.ts';
import { createTestCore } from '../testing/core.ts';
import { CHANNEL, createTestGateway, type TestGateway } from './testing/test-gateway.ts';

let t: TestGateway;
before(async () => {
  t = await createTestGateway();
});
after(() => t.close());

const mine = 'e'.repeat(64);
const url = 'http://192.0.2.9:8422';
const caller = { name: 'ana', kind: 'person' as const, session: null, address: '192.0.2.9', may: () => true };
const canPoint = { 'x-treeline-can': 'point' };

test('a device that is pointed elsewhere is told where, by headers, and only if it says that it understands them', async () => {
  const released = await t.release('for everybody');
  const client = await t.enrolled();
  const ask = (headers: Record<string, string> = {}) =>
    t.call('GET', `/ostree/refs/heads/${CHANNEL}`, { as: client, headers });
  await t.pointers.point(client.id, { url, ref: 'dev/ana/robot', commit: mine }, caller);

  const told = await ask(canPoint);
  assert.equal(told.text.trim(), mine);
  assert.equal(told.headers['x-treeline-at'], url);
  assert.equal(told.headers['x-treeline-ref'], 'dev/ana/robot');
  const plain = await ask();
  assert.equal(plain.text.trim(), released);
  assert.equal(plain.headers['x-treeline-at'], undefined);
  const other = await t.enrolled();
  const elsewhere = await t.call('GET', `/ostree/refs/heads/${CHANNEL}`, { as: other, headers: canPoint });
  assert.equal(elsewhere.text.trim(), released);
  assert.equal(elsewhere.headers['x-treeline-at'], undefined);

  const known = JSON.parse((await t.call('GET', '/device', { as: client })).text) as {
    target: string;
    pointer: { url: string; by: string };
  };
  assert.equal(known.target, mine);
  assert.deepEqual([known.pointer.url, known.pointer.by], [url, 'ana']);

  assert.equal(await t.pointers.back(client.id, caller), true);
  assert.equal((await ask(canPoint)).text.trim(), released);
  assert.equal(await t.pointers.back(client.id, caller), false);
});

test('a commit that failed on the device is not offered to it again, and it cannot be pointed there again', async () => {
  const released = await t.release('to come back to');
  const client = await t.enrolled();
  await t.pointers.point(client.id, { url, commit: mine }, caller);
  const report = { state: 'rolled-back', from: mine, reason: 'health check 10-app failed' };
  assert.equal((await t.call('PUT', '/device/state', { as: client, body: report })).status, 204);
  const answer = await t.call('GET', `/ostree/refs/heads/${CHANNEL}`, { as: client, headers: canPoint });
  assert.equal(answer.text.trim(), released);
  await assert.rejects(t.pointers.point(client.id, { url, commit: mine }, caller), {
    code: 'conflict',
    message: /failed on .*health check 10-app failed/,
  });
  await t.registry.patch(client.id, { forgive: [mine] }, null);
  assert.equal((await t.pointers.point(client.id, { url, commit: mine }, caller)).commit, mine);
});

test('where a device has its release from is kept, and the address that it speaks from', async () => {
  const client = await t.enrolled();
  const body = { state: 'good', release: mine, fetchedFrom: url };
  await t.call('PUT', '/device/state', { as: client, body });
  const row = await t.registry.get(client.id);
  assert.deepEqual([row?.fetched_from, row?.address], [url, '127.0.0.1']);
  await t.call('PUT', '/device/state', { as: client, body: { state: 'good', release: mine } });
  assert.equal((await t.registry.get(client.id))?.fetched_from, null);
});

test('a pointer ends by itself, and each one and its end are in the audit log', async (context) => {
  const core = await createTestCore(context);
  let now = 1_000_000;
  const clock = () => now;
  const registry = createRegistry({ ...core, releases: { current: async () => null }, now: clock });
  const pointers = createPointers({ ...core, now: clock });
  await registry.admit({ id: 'board', publicKey: 'k', policy: 'pending' });
  await assert.rejects(pointers.point('board', { url, commit: mine }, caller), { code: 'conflict' });
  await assert.rejects(pointers.point('nobody', { url, commit: mine }, caller), { code: 'not-found' });
  await registry.patch('board', { accepted: true }, null);

  await pointers.point('board', { url, commit: mine, seconds: 60 }, caller);
  now += 59_000;
  assert.equal((await pointers.offered('board'))?.commit, mine);
  now += 1000;
  assert.equal(await pointers.offered('board'), null);
  assert.equal(await pointers.back('board', caller), false, 'it is over already');

  await pointers.point('board', { url, commit: mine }, caller);
  now += 8 * 3_600_000 - 1;
  assert.equal(await pointers.back('board', caller), true, 'a working day is what it lasts');
  const entries = await core.db
    .selectFrom('audit')
    .where('actor', '!=', 'server')
    .select(['actor', 'action', 'subject', 'address'])
    .orderBy('id')
    .execute();
  assert.deepEqual(entries, [
    { actor: 'ana', action: 'device.point', subject: 'board', address: '192.0.2.9' },
    { actor: 'ana', action: 'device.point', subject: 'board', address: '192.0.2.9' },
    { actor: 'ana', action: 'device.back', subject: 'board', address: '192.0.2.9' },
  ]);
  assert.equal(await registry.remove('board', null), true);
});
