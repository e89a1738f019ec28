import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { type RequestOptions, request } from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, beforeEach, test } from 'node:test';
import { connect } from 'node:tls';
import { promisify } from 'node:util';
import pino from 'pino';
import { type Authority, openAuthority } from '../ca/index.ts';
import { type Database, openDatabase } from '../database/open.ts';
import { createRegistry, deviceRoutes, type Registry } from '../devices/index.ts';
import { createEventLog, type EventLog } from '../events/log.ts';
import { createGateway, type Gateway } from './gateway.ts';

const run = promisify(execFile);
const CHANNEL = 'robot/edge';

let dir: string;
let db: Database;
let events: EventLog;
let authority: Authority;
let registry: Registry;
let gateway: Gateway;
let channelHead: string | null = null;
let number = 0;

before(async () => {
  dir = await mkdtemp(join(tmpdir(), 'treeline-gateway-'));
  db = await openDatabase(`sqlite:${join(dir, 'treeline.db')}`);
  events = createEventLog(db);
  authority = await openAuthority({ dir: join(dir, 'ca'), names: ['localhost', '127.0.0.1'] });
  registry = createRegistry({
    db,
    events,
    releases: { current: async () => (channelHead === null ? null : { commit: channelHead }) },
  });
  gateway = await createGateway({
    authority,
    registry,
    log: pino({ level: 'silent' }),
    reposDir: join(dir, 'repos'),
    settings: { gatewayHost: '127.0.0.1', gatewayPort: 0, gatewayNames: ['localhost', '127.0.0.1'] },
  });
  await writeFile(join(dir, 'ca.crt'), authority.certificate);
  await run('ostree', ['init', `--repo=${join(dir, 'repos/public')}`, '--mode=archive']).catch(async () => {
    await mkdir(join(dir, 'repos/public'), { recursive: true });
    await run('ostree', ['init', `--repo=${join(dir, 'repos/public')}`, '--mode=archive']);
  });
});
after(async () => {
  await gateway.close();
  await db.destroy();
  await rm(dir, { recursive: true, force: true });
});
beforeEach(() => {
  number += 1;
});

/** Commits a tree with the real tool and makes it the channel's release. */
async function release(text: string): Promise<string> {
  const tree = join(dir, 'tree');
  await mkdir(join(tree, 'usr/bin'), { recursive: true });
  await writeFile(join(tree, 'usr/bin/a+b'), text);
  const { stdout } = await run('ostree', [
    'commit',
    `--repo=${join(dir, 'repos/public')}`,
    '-b',
    CHANNEL,
    `--tree=dir=${tree}`,
    '--owner-uid=0',
    '--owner-gid=0',
  ]);
  const commit = stdout.trim();
  channelHead = commit;
  const next = Date.now();
  await db
    .insertInto('releases')
    .values({
      ...{ contents: commit, meta: commit },
      ...{ id: commit.slice(0, 12), repository: 'public', channel: CHANNEL, commit, previous: null },
      ...{ number: ++releases, state: 'published', run_id: null, run_number: 0, artifact: null },
      ...{ reason: 'test', message: null, created_at: next, published_at: next },
    })
    .execute();
  return commit;
}
let releases = 0;

interface Client {
  id: string;
  cert: string;
  key: string;
  files: { cert: string; key: string };
}

/** A key and a request as a device makes them, here by openssl. */
async function keyOf(name: string): Promise<{ key: string; csr: string; file: string }> {
  const file = join(dir, `${name}.key`);
  await run('openssl', ['ecparam', '-name', 'prime256v1', '-genkey', '-noout', '-out', file]);
  const { stdout } = await run('openssl', ['req', '-new', '-key', file, '-subj', '/CN=x']);
  return { key: await readFile(file, 'utf8'), csr: stdout, file };
}

async function newToken(o: { channel?: string; uses?: number; expiresSeconds?: number } = {}): Promise<string> {
  const made = await registry.createToken({ channel: CHANNEL, ...o });
  return `${made.secret}.${authority.fingerprint}`;
}

async function enrolled(id = `robot-${number}`): Promise<Client> {
  const { key, csr, file } = await keyOf(id);
  const answer = await call('POST', '/enroll', { body: { token: await newToken(), id, csr } });
  assert.equal(answer.status, 200, answer.text);
  const { certificate } = JSON.parse(answer.text) as { certificate: string };
  const cert = join(dir, `${id}.crt`);
  await writeFile(cert, certificate);
  return { id, cert: certificate, key, files: { cert, key: file } };
}

interface Answer {
  status: number;
  text: string;
  code: string | undefined;
  headers: Record<string, unknown>;
}

function call(
  method: string,
  path: string,
  o: {
    as?: { cert: string; key: string };
    body?: unknown;
    raw?: string | Buffer;
    headers?: Record<string, string>;
  } = {},
): Promise<Answer> {
  const body = o.raw ?? (o.body === undefined ? undefined : JSON.stringify(o.body));
  const options: RequestOptions = {
    method,
    host: '127.0.0.1',
    port: gateway.port,
    path,
    ca: authority.certificate,
    ...(o.as === undefined ? {} : { cert: o.as.cert, key: o.as.key }),
    headers: o.headers,
    agent: false,
  };
  return new Promise((resolve, reject) => {
    const outgoing = request(options, (incoming) => {
      let text = '';
      incoming.setEncoding('utf8').on('data', (chunk) => {
        text += chunk;
      });
      incoming.on('end', () => {
        let code: string | undefined;
        try {
          code = (JSON.parse(text) as { error?: { code?: string } }).error?.code;
        } catch {
          // Not every answer is JSON.
        }
        resolve({ status: incoming.statusCode ?? 0, text, code, headers: incoming.headers });
      });
    });
    outgoing.on('error', reject);
    outgoing.end(body);
  });
}

async function addRemote(client: Client): Promise<string> {
  const repo = join(dir, `${client.id}-repo`);
  await mkdir(repo, { recursive: true });
  await run('ostree', ['init', `--repo=${repo}`, '--mode=bare-user']);
  await run('ostree', [
    ...['remote', 'add', `--repo=${repo}`, '--no-gpg-verify'],
    `--set=tls-client-cert-path=${client.files.cert}`,
    `--set=tls-client-key-path=${client.files.key}`,
    `--set=tls-ca-path=${join(dir, 'ca.crt')}`,
    ...['t', `${gateway.url}/ostree`],
  ]);
  return repo;
}

test('a stock ostree client with the device certificate pulls what the device should run', async () => {
  const first = await release('one');
  const second = await release('two');
  const client = await enrolled();
  const repo = await addRemote(client);
  await run('ostree', ['pull', `--repo=${repo}`, 't', CHANNEL]);
  const head = async () => (await run('ostree', ['rev-parse', `--repo=${repo}`, `t:${CHANNEL}`])).stdout.trim();
  assert.equal(await head(), second);
  await run('ostree', ['fsck', `--repo=${repo}`]);

  // The device says that it is bad: it is offered the one before, other devices are not.
  const report = { state: 'rolled-back', from: second, reason: 'health check 10-model failed with exit code 1' };
  assert.equal((await call('PUT', '/device/state', { as: client, body: report })).status, 204);
  await run('ostree', ['pull', `--repo=${repo}`, 't', CHANNEL]);
  assert.equal(await head(), first);
  const other = await enrolled('robot-other');
  assert.equal((await call('GET', `/ostree/refs/heads/${CHANNEL}`, { as: other })).text.trim(), second);

  const third = await release('three');
  await run('ostree', ['pull', `--repo=${repo}`, 't', CHANNEL]);
  assert.equal(await head(), third);
});

test('a stock ostree client without a certificate, or with one of another CA, gets nothing', async () => {
  await release('closed');
  const foreign = await openAuthority({ dir: join(dir, 'foreign'), names: ['localhost'] });
  const { csr, key, file } = await keyOf('foreign');
  const { certificate } = await foreign.issueDeviceCertificate({ id: 'robot-1', csr });
  const cert = join(dir, 'foreign.crt');
  await writeFile(cert, certificate);
  const repo = await addRemote({ id: 'foreign', cert: certificate, key, files: { cert, key: file } });
  await assert.rejects(run('ostree', ['pull', `--repo=${repo}`, 't', CHANNEL]));
  for (const as of [undefined, { cert: certificate, key }]) {
    const answer = await call('GET', `/ostree/refs/heads/${CHANNEL}`, as === undefined ? {} : { as });
    assert.deepEqual([answer.status, answer.code], [401, 'certificate-required']);
  }
});

test('a TLS session that began without a certificate does not gain one by being resumed', async () => {
  await release('resumed');
  const session = await new Promise<Buffer>((resolve, reject) => {
    const socket = connect({
      host: '127.0.0.1',
      port: gateway.port,
      ca: authority.certificate,
      servername: 'localhost',
    });
    socket.on('session', resolve);
    socket.on('error', reject);
    socket.write('GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n');
    socket.resume();
  });
  const answer = await new Promise<string>((resolve, reject) => {
    const options = {
      host: '127.0.0.1',
      port: gateway.port,
      ca: authority.certificate,
      servername: 'localhost',
      session,
    };
    const socket = connect(options);
    let text = '';
    socket.on('data', (chunk) => {
      text += chunk.toString();
    });
    socket.on('end', () => resolve(text));
    socket.on('error', reject);
    socket.write(`GET /ostree/refs/heads/${CHANNEL} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n`);
  });
  assert.match(answer, /^HTTP\/1\.1 401/);
});

test('the repository is served whole and nothing beside it: objects, config, HEAD, raw +, no summary', async () => {
  const commit = await release('content');
  const client = await enrolled();
  const as = client;
  const object = `/ostree/objects/${commit.slice(0, 2)}/${commit.slice(2)}.commit`;
  assert.equal((await call('GET', object, { as })).status, 200);
  const head = await call('HEAD', object, { as });
  assert.deepEqual([head.status, head.text], [200, '']);
  assert.equal((await call('HEAD', `/ostree/refs/heads/${CHANNEL}`, { as })).headers['content-length'], '65');
  assert.match((await call('GET', '/ostree/config', { as })).text, /mode=archive/);
  const name = `deltas/a+/${'b+'.repeat(20)}c`;
  const delta = join(dir, 'repos/public', name);
  await mkdir(delta, { recursive: true });
  await writeFile(join(delta, 'superblock'), 'delta');
  assert.equal((await call('GET', `/ostree/${name}/superblock`, { as })).text, 'delta');
  assert.equal((await call('POST', '/ostree/download-urls', { as, body: {} })).status, 204);
  for (const path of [
    '/ostree/summary',
    '/ostree/summary.sig',
    '/ostree/refs/heads/other',
    '/ostree/refs/heads/..%2f..%2fconfig',
    '/ostree/refs/heads/%ff',
    '/ostree/objects/../config',
    '/ostree/objects/%2e%2e/config',
    '/ostree/.lock',
    '/ostree/tmp/x',
    '/ostree/',
    '/elsewhere',
  ]) {
    const answer = await call('GET', path, { as });
    assert.ok(answer.status === 404 || answer.status === 400, `${path}: ${answer.status} ${answer.text}`);
  }
  const tuf = await call('GET', '/repo/timestamp.json', { as });
  assert.deepEqual([tuf.status, tuf.code], [404, 'tuf-not-configured']);
  assert.equal((await call('DELETE', object, { as })).status, 405);
});

test('every request is a check-in', async () => {
  const commit = await release('seen');
  const client = await enrolled();
  const headers = { 'x-ats-ostreehash': commit, 'x-ats-target': 'robot-7', 'x-ats-tags': CHANNEL };
  await call('GET', '/config', { as: client, headers });
  const row = await registry.get(client.id);
  assert.equal(row?.current_commit, commit);
  assert.equal(row?.current_target, 'robot-7');
  assert.ok(Date.now() - (row?.last_seen ?? 0) < 5000);
  await call('GET', '/config', { as: client, headers: { 'x-ats-ostreehash': 'not a checksum' } });
  assert.equal((await registry.get(client.id))?.current_commit, commit);
});

test('tokens: used up, expired and forged ones are refused; a repeated request is not a second use', async () => {
  const { csr } = await keyOf('t1');
  const token = await newToken();
  const first = await call('POST', '/enroll', { body: { token, id: 'tok-1', csr } });
  const again = await call('POST', '/enroll', { body: { token, id: 'tok-1', csr } });
  assert.deepEqual([first.status, again.status], [200, 200]);
  const other = await call('POST', '/enroll', { body: { token, id: 'tok-2', csr: (await keyOf('t2')).csr } });
  assert.deepEqual([other.status, other.code], [401, 'token-invalid']);
  const expired = await newToken({ expiresSeconds: -1 });
  for (const bad of [expired, `x.${authority.fingerprint}`, '.', 'x'.repeat(512)]) {
    const answer = await call('POST', '/enroll', { body: { token: bad, id: 'tok-3', csr } });
    assert.deepEqual([answer.status, answer.code], [401, 'token-invalid']);
  }
  const race = await newToken({ uses: 2 });
  const keys = await Promise.all(['r1', 'r2', 'r3', 'r4'].map((name) => keyOf(name)));
  const answers = await Promise.all(
    keys.map((key, i) => call('POST', '/enroll', { body: { token: race, id: `race-${i}`, csr: key.csr } })),
  );
  assert.equal(answers.filter((answer) => answer.status === 200).length, 2);
});

test('an id is not taken over: another key is refused until an operator allows it', async () => {
  const client = await enrolled();
  const { csr, key } = await keyOf('thief');
  const stolen = await call('POST', '/enroll', { body: { token: await newToken(), id: client.id, csr } });
  assert.deepEqual([stolen.status, stolen.code], [403, 'key-changed']);
  // Even a certificate of our CA with the id but another key does not count.
  const { certificate } = await authority.issueDeviceCertificate({ id: client.id, csr });
  const as = { cert: certificate, key };
  assert.equal((await call('GET', '/device', { as })).code, 'key-changed');
  await registry.patch(client.id, { allowKeyChange: true });
  assert.equal((await call('GET', '/device', { as })).status, 200);
  assert.equal((await call('GET', '/device', { as: client })).code, 'key-changed', 'the old key is out');
});

test('a removed device with its certificate waits for an operator', async () => {
  await release('pending');
  const client = await enrolled();
  await registry.remove(client.id);
  const ref = `/ostree/refs/heads/${CHANNEL}`;
  assert.equal((await call('GET', ref, { as: client })).code, 'device-pending');
  const seen = JSON.parse((await call('GET', '/device', { as: client })).text) as { accepted: boolean };
  assert.equal(seen.accepted, false);
  await registry.patch(client.id, { accepted: true });
  assert.equal((await call('GET', ref, { as: client })).status, 200);
});

test('events: junk inside a batch is skipped, the good ones are kept, each once', async () => {
  const client = await enrolled();
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
  assert.equal((await call('POST', '/events', { as: client, body: batch })).status, 204);
  assert.equal((await call('POST', '/events', { as: client, body: batch })).status, 204);
  const stored = await registry.recentEvents(client.id, 100);
  assert.deepEqual(
    stored.map((row) => row.id),
    ['good-2', 'good-1'],
  );
  assert.equal(stored[1]?.details, 'why\uFFFD so');
  assert.equal((await call('POST', '/events', { as: client, body: { not: 'an array' } })).status, 400);
});

test('inventory is kept as sent', async () => {
  const client = await enrolled();
  const put = (path: string, body: unknown) => call('PUT', path, { as: client, body });
  assert.equal((await put('/system_info', { cpu: 'x' })).status, 204);
  assert.equal((await put('/system_info/network', { local_ipv4: '10.0.0.2' })).status, 204);
  assert.equal((await call('PUT', '/system_info/config', { as: client, raw: '[tls]\nca = "x"\n' })).status, 204);
  assert.equal((await call('GET', '/config', { as: client })).status, 204);
  assert.deepEqual(await registry.inventory(client.id), {
    config: '[tls]\nca = "x"\n',
    network: '{"local_ipv4":"10.0.0.2"}',
    system_info: '{"cpu":"x"}',
  });
});

test('hostile bodies get a clear refusal on every path that takes one', async () => {
  const client = await enrolled();
  const paths: [string, string, typeof client | undefined][] = [
    ['POST', '/enroll', undefined],
    ['POST', '/events', client],
    ['PUT', '/device/state', client],
    ['PUT', '/system_info', client],
  ];
  for (const [method, path, as] of paths) {
    const with_ = as === undefined ? {} : { as };
    const broken = await call(method, path, { ...with_, raw: '{"a":' });
    assert.deepEqual([broken.status, broken.code], [400, 'invalid-json'], path);
    const binary = await call(method, path, { ...with_, raw: Buffer.from([0xff, 0xfe, 0]) });
    assert.equal(binary.status, 400, path);
    const empty = await call(method, path, with_);
    assert.equal(empty.status, 400, path);
    const giant = await call(method, path, { ...with_, raw: Buffer.alloc(200 * 1024, 0x20) });
    assert.deepEqual([giant.status, giant.code], [413, 'too-large'], path);
    const chunked = await call(method, path, {
      ...with_,
      raw: Buffer.alloc(150 * 1024, 0x20),
      headers: { 'transfer-encoding': 'chunked' },
    });
    assert.equal(chunked.status, 413, path);
  }
  for (const body of [{}, { state: 'dancing' }, { state: 'good', release: '../../x' }, [], 'x', null]) {
    assert.equal((await call('PUT', '/device/state', { as: client, body })).status, 400, JSON.stringify(body));
  }
  for (const body of [
    {},
    [],
    { token: 'x', id: '../x', csr: 'y' },
    { token: 'x', id: 'a'.repeat(65), csr: 'y' },
    { token: {}, id: 'a', csr: 'y' },
    { token: await newToken(), id: 'a', csr: 'no request' },
  ]) {
    assert.equal((await call('POST', '/enroll', { body })).status, 400, JSON.stringify(body));
  }
});

test('the API shows what a device runs, what it was made from, and why it went back', async () => {
  const good = await release('good');
  const bad = await release('bad');
  const client = await enrolled();
  const headers = { 'x-ats-ostreehash': good };
  const report = { state: 'rolled-back', from: bad, reason: 'health check failed' };
  await call('PUT', '/device/state', { as: client, body: report, headers });
  const source = { project: 'app', url: 'u', revision: 'r', subject: 's', commit: good };
  const app = deviceRoutes({
    registry,
    provenance: async () => ({
      ...{ project: 'system', job: 'system', artifact: 'system', key: good, run: 'r1', inputs: [] },
      sources: [source],
    }),
    gateway: () => gateway,
  });
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
  assert.ok(token.token.endsWith(`.${authority.fingerprint}`));
  assert.equal(token.gateway, gateway.url);
  assert.equal((await app.request('/enrolment-tokens', { method: 'POST' })).status, 201);

  assert.equal((await app.request(`/devices/${client.id}`, { method: 'DELETE' })).status, 204);
  assert.equal(await registry.get(client.id), null);
  const log = (await events.since(0, 10_000)).filter((event) => event.data.device === client.id);
  assert.deepEqual(
    log.map((event) => event.type),
    ['device.enrolled', 'device.state', 'device.removed'],
  );
});
