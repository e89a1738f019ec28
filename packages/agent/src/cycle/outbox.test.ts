import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { AgentError } from '../errors.ts';
import type { GatewayClient } from '../gateway/client.ts';
import type { Report } from '../state/schema.ts';
import { openState } from '../state/store.ts';
import { enqueue, flush } from './outbox.ts';

const dirs: string[] = [];
after(async () => {
  for (const dir of dirs) await rm(dir, { recursive: true, force: true });
});
async function newStore() {
  const dir = await mkdtemp(join(tmpdir(), 'treeline-outbox-'));
  dirs.push(dir);
  return { dir, store: await openState(dir) };
}

let ids = 0;
const event = (): Report => ({ id: `e${++ids}`, method: 'POST', path: '/events', body: { id: ids }, passing: false });
const state = (name: string, passing = true): Report => ({
  id: `s${++ids}`,
  method: 'PUT',
  path: '/device/state',
  body: { state: name },
  passing,
});

function clientThat(answer: (path: string) => AgentError | null) {
  const delivered: { path: string; body: unknown }[] = [];
  const client: GatewayClient = {
    offered: async () => null,
    registered: async () => ({ channel: null, repository: 'public', badReleases: [] }),
    async deliver({ path, body }) {
      const error = answer(path);
      if (error !== null) throw error;
      delivered.push({ path, body });
    },
    size: async () => null,
  };
  return { client, delivered };
}

test('only the newest passing state waits; verdicts and events all do', () => {
  const queue = enqueue([], [state('downloading'), event(), state('failed', false), state('idle'), state('good')]);
  assert.deepEqual(
    queue.map((report) => (report.body as { state?: string }).state ?? 'event'),
    ['event', 'failed', 'good'],
  );
});

test('a board that is cut off for long keeps a bounded queue, and its newest news', () => {
  let queue: Report[] = [];
  for (let i = 0; i < 2000; i++) queue = enqueue(queue, [event()]);
  assert.equal(queue.length, 500);
  assert.equal(queue.at(-1)?.id, `e${ids}`);
});

test('what arrived is gone for good; what did not waits, also across a restart', async () => {
  const { dir, store } = await newStore();
  await store.save({ outbox: enqueue([], [...Array.from({ length: 20 }, event), state('good')]) });
  const away = clientThat((path) => (path === '/events' ? null : new AgentError('unreachable', 'gone')));
  assert.equal(await flush(store, away.client), 'gone');
  assert.deepEqual(
    away.delivered.map((delivery) => (delivery.body as unknown[]).length),
    [16, 4],
  );
  const again = await openState(dir);
  assert.equal(again.current.outbox.length, 1);
  const back = clientThat(() => null);
  assert.equal(await flush(again, back.client), null);
  assert.equal(back.delivered.length, 1);
  assert.equal((await openState(dir)).current.outbox.length, 0);
});

test('a report that the server will never take does not stop the others', async () => {
  const { store } = await newStore();
  await store.save({ outbox: [state('odd', false), event()] });
  const { client, delivered } = clientThat((path) =>
    path === '/events' ? null : new AgentError('refused', 'no', { status: 400 }),
  );
  assert.equal(await flush(store, client), null);
  assert.equal(delivered.length, 1);
  await store.save({ outbox: [event()] });
  const refusing = clientThat(() => new AgentError('refused', 'pending', { status: 403 }));
  assert.equal(await flush(store, refusing.client), 'pending');
  assert.equal(store.current.outbox.length, 1, 'an operator may accept the device tomorrow');
});
