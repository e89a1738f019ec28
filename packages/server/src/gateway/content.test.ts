import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { connect } from 'node:tls';
import { promisify } from 'node:util';
import { openAuthority } from '../ca/index.ts';
import { CHANNEL, createTestGateway, type TestGateway } from './testing/test-gateway.ts';

const run = promisify(execFile);

let t: TestGateway;
before(async () => {
  t = await createTestGateway();
});
after(() => t.close());

test('a stock ostree client with the device certificate pulls what the device should run', async () => {
  const first = await t.release('one');
  const second = await t.release('two');
  const client = await t.enrolled();
  const repo = await t.addRemote(client);
  await run('ostree', ['pull', `--repo=${repo}`, 't', CHANNEL]);
  const head = async () => (await run('ostree', ['rev-parse', `--repo=${repo}`, `t:${CHANNEL}`])).stdout.trim();
  assert.equal(await head(), second);
  await run('ostree', ['fsck', `--repo=${repo}`]);

  // The device says that it is bad: it is offered the one before, other devices are not.
  const report = { state: 'rolled-back', from: second, reason: 'health check 10-model failed with exit code 1' };
  assert.equal((await t.call('PUT', '/device/state', { as: client, body: report })).status, 204);
  await run('ostree', ['pull', `--repo=${repo}`, 't', CHANNEL]);
  assert.equal(await head(), first);
  const other = await t.enrolled('robot-other');
  assert.equal((await t.call('GET', `/ostree/refs/heads/${CHANNEL}`, { as: other })).text.trim(), second);

  const third = await t.release('three');
  await run('ostree', ['pull', `--repo=${repo}`, 't', CHANNEL]);
  assert.equal(await head(), third);
});

test('a stock ostree client without a certificate, or with one of another CA, gets nothing', async () => {
  await t.release('closed');
  const foreign = await openAuthority({ dir: join(t.dir, 'foreign'), names: ['localhost'] });
  const { csr, key, file } = await t.keyOf('foreign');
  const { certificate } = await foreign.issueDeviceCertificate({ id: 'robot-1', csr });
  const cert = join(t.dir, 'foreign.crt');
  await writeFile(cert, certificate);
  const repo = await t.addRemote({ id: 'foreign', cert: certificate, key, files: { cert, key: file } });
  await assert.rejects(run('ostree', ['pull', `--repo=${repo}`, 't', CHANNEL]));
  for (const as of [undefined, { cert: certificate, key }]) {
    const answer = await t.call('GET', `/ostree/refs/heads/${CHANNEL}`, as === undefined ? {} : { as });
    assert.deepEqual([answer.status, answer.code], [401, 'certificate-required']);
  }
});

test('a TLS session that began without a certificate does not gain one by being resumed', async () => {
  await t.release('resumed');
  const session = await new Promise<Buffer>((resolve, reject) => {
    const socket = connect({
      host: '127.0.0.1',
      port: t.gateway.port,
      ca: t.authority.certificate,
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
      port: t.gateway.port,
      ca: t.authority.certificate,
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
  const commit = await t.release('content');
  const client = await t.enrolled();
  const as = client;
  const object = `/ostree/objects/${commit.slice(0, 2)}/${commit.slice(2)}.commit`;
  assert.equal((await t.call('GET', object, { as })).status, 200);
  const head = await t.call('HEAD', object, { as });
  assert.deepEqual([head.status, head.text], [200, '']);
  assert.equal((await t.call('HEAD', `/ostree/refs/heads/${CHANNEL}`, { as })).headers['content-length'], '65');
  assert.match((await t.call('GET', '/ostree/config', { as })).text, /mode=archive/);
  const name = `deltas/a+/${'b+'.repeat(20)}c`;
  const delta = join(t.dir, 'repos/public', name);
  await mkdir(delta, { recursive: true });
  await writeFile(join(delta, 'superblock'), 'delta');
  assert.equal((await t.call('GET', `/ostree/${name}/superblock`, { as })).text, 'delta');
  assert.equal((await t.call('POST', '/ostree/download-urls', { as, body: {} })).status, 204);
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
    const answer = await t.call('GET', path, { as });
    assert.ok(answer.status === 404 || answer.status === 400, `${path}: ${answer.status} ${answer.text}`);
  }
  const tuf = await t.call('GET', '/repo/timestamp.json', { as });
  assert.deepEqual([tuf.status, tuf.code], [404, 'tuf-not-configured']);
  assert.equal((await t.call('DELETE', object, { as })).status, 405);
});
