import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { cpSync, mkdirSync, readFileSync, renameSync, symlinkSync, writeFileSync } from 'node:fs';
import { Agent, get as httpsGet } from 'node:https';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { setTimeout } from 'node:timers/promises';
import { connect, type TLSSocket } from 'node:tls';
import { promisify } from 'node:util';
import type { WhoAmI } from '../access/schema.ts';
import {
  type CertificateFiles,
  createTestAuthority,
  readCertificate,
  type TestAuthority,
} from '../testing/certificates.ts';
import { scratch } from '../testing/scratch.ts';
import { startTestServer, type TestServer } from '../testing/server.ts';

const run = promisify(execFile);
const REF = 'robot/edge';
const NAMES = 'DNS:localhost,IP:127.0.0.1';

const cleanUp: (() => unknown)[] = [];
const t = { after: (work: () => unknown) => cleanUp.push(work) };
let folder: string;
let server: TestServer;
let authority: TestAuthority;
let clientAuthority: TestAuthority;
let mirror: CertificateFiles;
/** Links to the files in use, as certbot keeps them. */
let live: { cert: string; key: string; ca: string };
let clients = 0;

before(async () => {
  folder = scratch(t);
  authority = createTestAuthority(folder, 'ca');
  clientAuthority = createTestAuthority(folder, 'clients');
  mirror = clientAuthority.issue('mirror', { subject: '/O=Acme/CN=mirror.example.org', usage: 'clientAuth' });
  live = { cert: join(folder, 'live.pem'), key: join(folder, 'live.key'), ca: join(folder, 'live-ca.pem') };
  const first = authority.issue('server', { subject: '/CN=localhost', altNames: NAMES });
  symlinkSync(first.cert, live.cert);
  symlinkSync(first.key, live.key);
  cpSync(clientAuthority.file, live.ca);
  // Every address, without allowRemote: with TLS that is no risk.
  server = await startTestServer(t, {
    ...{ host: '0.0.0.0', tlsCert: live.cert, tlsKey: live.key, tlsClientCa: live.ca },
  });
  await server.post('/repositories', { name: 'acme' });
  const tree = join(folder, 'tree');
  mkdirSync(tree);
  writeFileSync(join(tree, 'file'), 'for customers\n');
  const repo = join(server.dataDir, 'repos/acme');
  await run('ostree', ['commit', `--repo=${repo}`, '-b', REF, `--tree=dir=${tree}`]);
  await server.post('/tokens', {
    ...{ name: 'mirror', allow: ['read'], on: ['acme'], certificateName: 'mirror.example.org' },
  });
});
after(async () => {
  for (const work of cleanUp.reverse()) await work();
});

async function curl(path: string, ...flags: string[]): Promise<{ status: number; body: string }> {
  const args = ['-sS', '--cacert', authority.file, '-w', '\n%{http_code}', ...flags, `${server.url}${path}`];
  const { stdout } = await run('curl', args);
  const cut = stdout.lastIndexOf('\n');
  return { status: Number(stdout.slice(cut + 1)), body: stdout.slice(0, cut) };
}

const showing = ({ cert, key }: CertificateFiles) => ['--cert', cert, '--key', key];

async function pull(settings: string[], url = server.url): Promise<{ ok: boolean; stderr: string }> {
  clients += 1;
  const repo = join(folder, `client-${clients}`);
  await run('ostree', ['init', `--repo=${repo}`, '--mode=bare-user-only']);
  const remote = ['remote', 'add', `--repo=${repo}`, '--no-gpg-verify', ...settings.map((one) => `--set=${one}`)];
  await run('ostree', [...remote, 'acme', `${url}/repos/acme`]);
  return await run('ostree', ['pull', `--repo=${repo}`, '--network-retries=0', 'acme', REF]).then(
    () => ({ ok: true, stderr: '' }),
    (error: { stderr: string }) => ({ ok: false, stderr: error.stderr }),
  );
}

test('the server says the name that is in its certificate, and has a port for this machine alone', async () => {
  assert.match(server.url, /^https:\/\/localhost:\d+$/);
  assert.match(server.localUrl, /^http:\/\/127\.0\.0\.1:\d+$/);
  assert.equal((await curl('/api/v1/health')).status, 200);
  assert.equal((await fetch(`${server.localUrl}/api/v1/health`)).status, 200);
  await assert.rejects(fetch(server.url.replace('https', 'http')));
});

test('TLS 1.2 and 1.3 are spoken, nothing older', async () => {
  const { port } = new URL(server.url);
  const where = ['-connect', `127.0.0.1:${port}`, '-CAfile', authority.file];
  const shake = (...flags: string[]) =>
    // Its end of input ends the session.
    run('sh', ['-c', `exec openssl s_client "$@" </dev/null`, 'sh', ...where, '-brief', ...flags]).then(
      ({ stderr }) => stderr,
      (error: { stderr: string }) => error.stderr,
    );
  assert.match(await shake('-tls1_2'), /Protocol version: TLSv1\.2\n[\s\S]*Verification: OK/);
  assert.match(await shake('-tls1_3'), /Protocol version: TLSv1\.3\n[\s\S]*Verification: OK/);
  assert.doesNotMatch(await shake('-tls1_1', '-cipher', 'ALL:@SECLEVEL=0'), /Protocol version/);
});

test('the stock client pulls with a client certificate, and not with none or with one that is no good', async () => {
  const ca = `tls-ca-path=${authority.file}`;
  const certificate = ({ cert, key }: CertificateFiles) => [
    `tls-client-cert-path=${cert}`,
    `tls-client-key-path=${key}`,
  ];
  assert.deepEqual(await pull([ca, ...certificate(mirror)]), { ok: true, stderr: '' });
  assert.match((await pull([ca])).stderr, /HTTP 401/);
  assert.match((await pull(certificate(mirror))).stderr, /certificate/i);
  const subject = '/O=Acme/CN=mirror.example.org';
  const foreign = createTestAuthority(folder, 'foreign').issue('foreign-mirror', { subject, usage: 'clientAuth' });
  const wrong: Record<string, CertificateFiles> = {
    foreign,
    expired: clientAuthority.issue('expired', { subject, usage: 'clientAuth', days: -1 }),
    server: clientAuthority.issue('no-client', { subject, usage: 'serverAuth' }),
    stranger: clientAuthority.issue('stranger', { subject: '/CN=stranger', usage: 'clientAuth' }),
    twice: clientAuthority.issue('twice', { subject: '/CN=mirror.example.org/CN=admin', usage: 'clientAuth' }),
    organisation: clientAuthority.issue('organisation', { subject: '/O=mirror.example.org', usage: 'clientAuth' }),
  };
  for (const [what, files] of Object.entries(wrong)) {
    assert.match((await pull([ca, ...certificate(files)])).stderr, /HTTP 401/, what);
    assert.equal((await curl('/api/v1/whoami', ...showing(files))).status, 401, what);
  }
});

test('a certificate opens the API as its token does, and no further; the audit log has its name', async () => {
  const who = await curl('/api/v1/whoami', ...showing(mirror));
  const { name, actions, on } = JSON.parse(who.body) as WhoAmI;
  assert.deepEqual([name, actions, on], ['mirror', ['read'], ['acme']]);
  assert.equal((await curl('/api/v1/status', ...showing(mirror))).status, 403);
  assert.equal((await curl('/repos/other/config', ...showing(mirror))).status, 403);
  const body = JSON.stringify({ name: 'below-mirror' });
  const post = ['-X', 'POST', '-H', 'content-type: application/json', '-d', body];
  assert.equal((await curl('/api/v1/tokens', ...showing(mirror), ...post)).status, 201);
  assert.match((await curl('/api/v1/tokens', ...showing(mirror))).body, /below-mirror/);
});

test('a resumed session is worth no more than the one it comes from', async () => {
  const { port } = new URL(server.url);
  const options = { host: '127.0.0.1', port: Number(port), servername: 'localhost', ca: readFileSync(authority.file) };
  /** Asks who one is, on a connection of its own. */
  const ask = async (o: object): Promise<{ status: string; session: Buffer; reused: boolean }> => {
    const socket: TLSSocket = connect({ ...options, ...o });
    const tickets: Buffer[] = [];
    let reused = false;
    socket.on('session', (ticket: Buffer) => tickets.push(ticket));
    socket.on('secureConnect', () => {
      reused = socket.isSessionReused();
    });
    socket.write('GET /api/v1/whoami HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n');
    let text = '';
    for await (const chunk of socket) text += String(chunk);
    return { status: text.slice(9, 12), session: tickets.at(-1)!, reused };
  };
  for (const maxVersion of ['TLSv1.2', 'TLSv1.3'] as const) {
    const without = await ask({ maxVersion });
    assert.equal(without.status, '401');
    const again = await ask({ maxVersion, session: without.session });
    assert.deepEqual([again.status, again.reused], ['401', true], maxVersion);
    const known = await ask({ maxVersion, ...readCertificate(mirror) });
    assert.equal(known.status, '200');
    assert.equal((await ask({ maxVersion, session: known.session })).status, '200');
  }
});

test('a renewed certificate is served without a restart, also where it comes in two steps', async () => {
  const served = async () => {
    const { port } = new URL(server.url);
    const { stdout } = await run('sh', [
      '-c',
      `openssl s_client -connect 127.0.0.1:${port} </dev/null 2>/dev/null | openssl x509 -noout -serial`,
    ]);
    return stdout;
  };
  const before = await served();
  const agent = new Agent({ keepAlive: true, ca: readFileSync(authority.file) });
  cleanUp.push(() => agent.destroy());
  const ask = () =>
    new Promise<number>((resolve, reject) => {
      const headers = { authorization: `Bearer ${server.adminToken}` };
      const req = httpsGet(`${server.url}/api/v1/whoami`, { agent, headers }, (res) => {
        res.resume().on('end', () => resolve(res.statusCode ?? 0));
      });
      req.on('error', reject);
    });
  assert.equal(await ask(), 200);
  const renewed = authority.issue('renewed', { subject: '/CN=localhost', altNames: NAMES });
  const link = (target: string, path: string) => {
    symlinkSync(target, `${path}.new`);
    renameSync(`${path}.new`, path);
  };
  link(renewed.cert, live.cert);
  await setTimeout(6000);
  // The key is the old one still: what was there goes on.
  assert.equal(await served(), before);
  link(renewed.key, live.key);
  await until(async () => (await served()) !== before);
  const { stdout: serial } = await run('openssl', ['x509', '-in', renewed.cert, '-noout', '-serial']);
  assert.equal(await served(), serial);
  // Connections that are open go on.
  assert.equal(await ask(), 200);
  assert.equal((await curl('/api/v1/whoami', ...showing(mirror))).status, 200);
});

test('other client authorities count from then on, on open connections and for resumed sessions as well', async () => {
  const agent = new Agent({
    keepAlive: true,
    maxSockets: 1,
    ca: readFileSync(authority.file),
    ...readCertificate(mirror),
  });
  cleanUp.push(() => agent.destroy());
  const ask = () =>
    new Promise<number>((resolve, reject) => {
      httpsGet(`${server.url}/api/v1/whoami`, { agent }, (res) => {
        res.resume().on('end', () => resolve(res.statusCode ?? 0));
      }).on('error', reject);
    });
  assert.equal(await ask(), 200);
  const next = createTestAuthority(folder, 'next-clients');
  cpSync(next.file, live.ca);
  await until(async () => (await ask()) === 401);
  assert.equal((await curl('/api/v1/whoami', ...showing(mirror))).status, 401);
  const own = next.issue('next-mirror', { subject: '/CN=mirror.example.org', usage: 'clientAuth' });
  assert.equal((await curl('/api/v1/whoami', ...showing(own))).status, 200);
});

async function until(holds: () => Promise<boolean>): Promise<void> {
  for (let look = 0; !(await holds()); look += 1) {
    assert.ok(look < 600, 'it did not come');
    await setTimeout(100);
  }
}

test('files that cannot be used stop the start, with what is wrong', async (context) => {
  const other = authority.issue('other', { subject: '/CN=other' });
  const { cert } = other;
  const { key } = mirror;
  const junk = join(folder, 'junk.pem');
  writeFileSync(junk, '\0\xff-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n');
  for (const [fragment, complaint] of [
    [{ tlsCert: cert }, /go together/],
    [{ tlsClientCa: cert }, /only with tlsCert/],
    [{ tlsCert: 'server.pem', tlsKey: key }, /absolute/],
    [{ tlsCert: '/nowhere/x.pem', tlsKey: key }, /\/nowhere\/x\.pem cannot be read/],
    [{ tlsCert: cert, tlsKey: key }, /cannot be used/],
    [{ tlsCert: junk, tlsKey: key }, /junk\.pem is not a certificate/],
    [{ tlsCert: cert, tlsKey: junk }, /cannot be used/],
    [{ tlsCert: cert, tlsKey: other.key, tlsClientCa: junk }, /junk\.pem is not a certificate/],
  ] as const) {
    await assert.rejects(startTestServer(context, fragment), (error: Error & { code: string }) => {
      assert.equal(error.code, 'settings-invalid');
      assert.match(error.message, complaint);
      return true;
    });
  }
});
