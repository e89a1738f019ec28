import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { createRoutes } from '../api/routing.ts';
import { deviceRoutes } from '../devices/index.ts';
import { ADMIN } from '../testing/callers.ts';
import { CHANNEL, createTestGateway, type TestGateway } from './testing/test-gateway.ts';

let t: TestGateway;
before(async () => {
  t = await createTestGateway();
});
after(() => t.close());

test('every request is a check-in', async () => {
  const commit = await t.release('seen');
  const client = await t.enrolled();
  const headers = { 'x-ats-ostreehash': commit, 'x-ats-target': 'robot-7', 'x-ats-tags': CHANNEL };
  await t.call('GET', '/config', { as: client, headers });
  const row = await t.registry.get(client.id);
  assert.equal(row?.current_commit, commit);
  assert.equal(row?.current_target, 'robot-7');
  assert.ok(Date.now() - (row?.last_seen ?? 0) < 120_000);
  await t.call('GET', '/config', { as: client, headers: { 'x-ats-ostreehash': 'not a checksum' } });
  assert.equal((await t.registry.get(client.id))?.current_commit, commit);
});

test('events: junk inside a batch is skipped, the good ones are kept, each once', async () => {
  const client = await t.enrolled();
  const event = (id: unknown, more: object = {}) => ({
    id,
    deviceTime: '2026-11-23T02:00:00Z',
    eventType: { id: 'EcuInstallationCompleted', version: 1 },
    event: { correlationId: 'c', targetName: 't', version: '7', success: false, details: 'why\0 so', ecu: 'x' },
    ...more,
  });
  const batch = [
    event('good-1'),
    null,
    7,
    'text',
    [],
    {},
    event(7),
    event(''),
    event('x'.repeat(200)),
    event('bad-time', { deviceTime: 'yesterday' }),
    event('bad-type', { eventType: { id: 'Nonsense' } }),
    event('bad-event', { event: 'no' }),
    event('good-2', { deviceTime: '2026-11-23T02:00:00.5+01:00', extra: 1 }),
    event('good-1'),
  ];
  assert.equal((await t.call('POST', '/events', { as: client, body: batch })).status, 204);
  assert.equal((await t.call('POST', '/events', { as: client, body: batch })).status, 204);
  const stored = await t.registry.recentEvents(client.id, 100);
  assert.deepEqual(
    stored.map((row) => row.id),
    ['good-2', 'good-1'],
  );
  assert.equal(stored[1]?.details, 'why\uFFFD so');
  assert.equal((await t.call('POST', '/events', { as: client, body: { not: 'an array' } })).status, 400);
});

test('inventory is kept as sent', async () => {
  const client = await t.enrolled();
  const put = (path: string, body: unknown) => t.call('PUT', path, { as: client, body });
  assert.equal((await put('/system_info', { cpu: 'x' })).status, 204);
  assert.equal((await put('/system_info/network', { local_ipv4: '10.0.0.2' })).status, 204);
  assert.equal((await t.call('PUT', '/system_info/config', { as: client, raw: '[tls]\nca = "x"\n' })).status, 204);
  assert.equal((await t.call('GET', '/config', { as: client })).status, 204);
  assert.deepEqual(await t.registry.inventory(client.id), {
    config: '[tls]\nca = "x"\n',
    network: '{"local_ipv4":"10.0.0.2"}',
    system_info: '{"cpu":"x"}',
  });
});

test('hostile bodies get a clear refusal on every path that takes one', async () => {
  const client = await t.enrolled();
  const paths: [string, string, typeof client | undefined][] = [
    ['POST', '/enroll', undefined],
    ['POST', '/events', client],
    ['PUT', '/device/state', client],
    ['PUT', '/system_info', client],
  ];
  for (const [method, path, as] of paths) {
    const with_ = as === undefined ? {} : { as };
    const broken = await t.call(method, path, { ...with_, raw: '{"a":' });
    assert.deepEqual([broken.status, broken.code], [400, 'invalid-json'], path);
    const binary = await t.call(method, path, { ...with_, raw: Buffer.from([0xff, 0xfe, 0]) });
    assert.equal(binary.status, 400, path);
    const empty = await t.call(method, path, with_);
    assert.equal(empty.status, 400, path);
    const giant = await t.call(method, path, { ...with_, raw: Buffer.alloc(200 * 1024, 0x20) });
    assert.deepEqual([giant.status, giant.code], [413, 'too-large'], path);
    const chunked = await t.call(method, path, {
      ...with_,
      raw: Buffer.alloc(150 * 1024, 0x20),
      headers: { 'transfer-encoding': 'chunked' },
    });
    assert.equal(chunked.status, 413, path);
  }
  for (const body of [{}, { state: 'dancing' }, { state: 'good', release: '../../x' }, [], 'x', null]) {
    assert.equal((await t.call('PUT', '/device/state', { as: client, body })).status, 400, JSON.stringify(body));
  }
  for (const body of [
    {},
    [],
    { token: 'x', id: '../x', csr: 'y' },
    { token: 'x', id: 'a'.repeat(65), csr: 'y' },
    { token: {}, id: 'a', csr: 'y' },
    { token: await t.newToken(), id: 'a', csr: 'no request' },
  ]) {
    assert.equal((await t.call('POST', '/enroll', { body })).status, 400, JSON.stringify(body));
  }
});

test('the API shows what a device runs, what it was made from, and why it went back', async () => {
  const good = await t.release('good');
  const bad = await t.release('bad');
  const client = await t.enrolled();
  const headers = { 'x-ats-ostreehash': good };
  const report = { state: 'rolled-back', from: bad, reason: 'health check failed' };
  await t.call('PUT', '/device/state', { as: client, body: report, headers });
  const source = { project: 'app', url: 'u', revision: 'r', subject: 's', commit: good };
  const app = createRoutes();
  app.use(async (c, next) => {
    c.set('caller', ADMIN);
    await next();
  });
  const routes = deviceRoutes({
    registry: t.registry,
    pointers: t.pointers,
    provenance: async () => ({
      ...{ project: 'system', job: 'system', artifact: 'system', key: good, run: 'r1', inputs: [] },
      sources: [source],
    }),
    gateway: () => t.gateway,
  });
  app.route('/', routes);
  const device = (await (await app.request(`/devices/${client.id}`)).json()) as Record<string, unknown>;
  assert.equal(device.state, 'rolled-back');
  assert.equal(device.current, good);
  assert.equal(device.target, good);
  assert.equal(device.rolledBackFrom, bad);
  assert.equal(device.reason, 'health check failed');
  assert.deepEqual((device.provenance as { sources: unknown[] }).sources, [source]);

  const made = await app.request('/enrolment-tokens', {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ channel: CHANNEL, uses: 3 }),
  });
  assert.equal(made.status, 201);
  const token = (await made.json()) as { token: string; gateway: string };
  assert.ok(token.token.endsWith(`.${t.authority.fingerprint}`));
  assert.equal(token.gateway, t.gateway.url);
  assert.equal((await app.request('/enrolment-tokens', { method: 'POST' })).status, 201);

  assert.equal((await app.request(`/devices/${client.id}`, { method: 'DELETE' })).status, 204);
  assert.equal(await t.registry.get(client.id), null);
  const log = (await t.events.since(0, 10_000)).filter((event) => event.data.device === client.id);
  assert.deepEqual(
    log.map((event) => event.type),
    ['device.enrolled', 'device.state', 'device.removed'],
  );
});

test('what a device says beside its state is kept and shown; nonsense there costs nothing but itself', async () => {
  const client = await t.enrolled();
  const release = 'd'.repeat(64);
  const details = {
    download: { objects: 12, bytes: 34_567, delta: true },
    ...{ bootLoader: 'grub', clockBehind: 86_400, settings: ['windows.0: "2-4" is no window'], pinned: 'demo' },
  };
  const say = (more: unknown) =>
    t.call('PUT', '/device/state', {
      as: client,
      body: { state: 'blocked', release, reason: 'maintenance window: 02:00-04:00', details: more },
    });
  const shown = async () => (await t.registry.get(client.id))?.details ?? null;
  assert.equal((await say({ ...details, newer: 1 })).status, 204);
  assert.deepEqual(JSON.parse((await shown()) ?? ''), details);
  assert.equal((await say({ download: 'much' })).status, 204);
  assert.equal(await shown(), '{}');
  assert.equal((await t.registry.get(client.id))?.state, 'blocked');
});
