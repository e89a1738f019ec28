import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { X509Certificate } from 'node:crypto';
import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { promisify } from 'node:util';
import fc from 'fast-check';
import { openAuthority } from './authority.ts';
import { isDeviceId } from './identity.ts';

const run = promisify(execFile);
let dir: string;
before(async () => {
  dir = await mkdtemp(join(tmpdir(), 'treeline-ca-'));
});
after(() => rm(dir, { recursive: true, force: true }));

const names = ['localhost', '127.0.0.1'];

/** A request made by the tool that a device maker has at hand. */
async function opensslRequest(name: string, curve = 'prime256v1'): Promise<string> {
  const key = join(dir, `${name}.key`);
  const csr = join(dir, `${name}.csr`);
  await run('openssl', ['ecparam', '-name', curve, '-genkey', '-noout', '-out', key]);
  await run('openssl', ['req', '-new', '-key', key, '-subj', '/CN=whatever', '-out', csr]);
  return readFile(csr, 'utf8');
}

test('keys are private, and the same CA is there after a restart', async () => {
  const first = await openAuthority({ dir: join(dir, 'a'), names });
  const again = await openAuthority({ dir: join(dir, 'a'), names });
  assert.equal(again.fingerprint, first.fingerprint);
  await first.serverCertificate();
  for (const file of ['ca.key', 'server.key']) {
    assert.equal((await stat(join(dir, 'a', file))).mode & 0o777, 0o600, file);
  }
});

test('the server certificate is kept, and made anew when names change or its end is near', async () => {
  const folder = join(dir, 'b');
  let now = new Date('2026-01-01T00:00:00Z');
  const open = (list: string[]) => openAuthority({ dir: folder, names: list, now: () => now });
  const first = await (await open(names)).serverCertificate();
  assert.equal((await (await open(names)).serverCertificate()).cert, first.cert);

  const renamed = await (await open([...names, 'robots.example', '10.0.2.2'])).serverCertificate();
  assert.notEqual(renamed.cert, first.cert);
  const parsed = new X509Certificate(renamed.cert);
  assert.ok(parsed.checkHost('robots.example') && parsed.checkIP('10.0.2.2'));
  assert.notEqual((await (await open(names)).serverCertificate()).cert, renamed.cert, 'a name taken away');

  const kept = await (await open(names)).serverCertificate();
  now = new Date('2026-12-20T00:00:00Z');
  const renewed = await (await open(names)).serverCertificate();
  assert.notEqual(renewed.cert, kept.cert);
  assert.ok(renewed.notAfter > kept.notAfter);
});

test('a renewal that was cut off between key and certificate is made again', async () => {
  const folder = join(dir, 'torn');
  const authority = await openAuthority({ dir: folder, names });
  await authority.serverCertificate();
  await run('openssl', ['ecparam', '-name', 'prime256v1', '-genkey', '-noout', '-out', join(folder, 'sec1.key')]);
  await run('openssl', [
    'pkcs8',
    '-topk8',
    '-nocrypt',
    '-in',
    join(folder, 'sec1.key'),
    '-out',
    join(folder, 'server.key'),
  ]);
  const pair = await (await openAuthority({ dir: folder, names })).serverCertificate();
  assert.equal(pair.key, await readFile(join(folder, 'server.key'), 'utf8'));
});

test('openssl verifies a device certificate for TLS clients, and only for those', async () => {
  const folder = join(dir, 'c');
  const authority = await openAuthority({ dir: folder, names });
  const issued = await authority.issueDeviceCertificate({ id: 'robot-1', csr: await opensslRequest('robot-1') });
  const file = join(dir, 'robot-1.crt');
  await writeFile(file, issued.certificate);
  await run('openssl', ['verify', '-purpose', 'sslclient', '-CAfile', join(folder, 'ca.crt'), file]);
  await assert.rejects(run('openssl', ['verify', '-purpose', 'sslserver', '-CAfile', join(folder, 'ca.crt'), file]));
  const certificate = new X509Certificate(issued.certificate);
  assert.deepEqual(authority.identify(certificate), { id: 'robot-1', publicKey: issued.publicKey });
});

test('certificates of another CA, of the CA itself, of the server, and expired ones identify nobody', async () => {
  let now = new Date();
  const authority = await openAuthority({ dir: join(dir, 'd'), names, now: () => now });
  const other = await openAuthority({ dir: join(dir, 'e'), names });
  const csr = await opensslRequest('robot-2');
  const foreign = await other.issueDeviceCertificate({ id: 'robot-2', csr });
  assert.equal(authority.identify(new X509Certificate(foreign.certificate)), null);
  assert.equal(authority.identify(new X509Certificate(authority.certificate)), null);
  assert.equal(authority.identify(new X509Certificate((await authority.serverCertificate()).cert)), null);
  const own = new X509Certificate((await authority.issueDeviceCertificate({ id: 'robot-2', csr })).certificate);
  assert.notEqual(authority.identify(own), null);
  now = new Date(Date.now() + 11 * 365 * 24 * 3600 * 1000);
  assert.equal(authority.identify(own), null);
});

test('a request with a wrong signature, another kind of key, or no request at all is refused', async () => {
  const authority = await openAuthority({ dir: join(dir, 'f'), names });
  const good = await opensslRequest('robot-3');
  const der = Buffer.from(good.replace(/-----[^-]+-----/g, ''), 'base64');
  der[der.length - 1]! ^= 1;
  const forged = `-----BEGIN CERTIFICATE REQUEST-----\n${der.toString('base64')}\n-----END CERTIFICATE REQUEST-----\n`;
  const bad = [
    forged,
    await opensslRequest('robot-4', 'secp384r1'),
    '',
    'x',
    'A'.repeat(1 << 20),
    authority.certificate,
  ];
  for (const csr of bad) {
    await assert.rejects(authority.issueDeviceCertificate({ id: 'robot-3', csr }), { code: 'invalid-request' });
  }
});

test('mutated requests are refused or certify just a key; they never crash', async () => {
  const authority = await openAuthority({ dir: join(dir, 'g'), names });
  const der = Buffer.from((await opensslRequest('robot-5')).replace(/-----[^-]+-----/g, ''), 'base64');
  await fc.assert(
    fc.asyncProperty(fc.nat(der.length - 1), fc.integer({ min: 1, max: 255 }), async (at, flip) => {
      const mutated = Buffer.from(der);
      mutated[at]! ^= flip;
      const csr = `-----BEGIN CERTIFICATE REQUEST-----\n${mutated.toString('base64')}\n-----END CERTIFICATE REQUEST-----`;
      await authority.issueDeviceCertificate({ id: 'robot-5', csr }).then(
        () => {},
        (error: { code?: string }) => assert.equal(error.code, 'invalid-request'),
      );
    }),
    { numRuns: 60 },
  );
});

test('device ids are short and plain', async () => {
  for (const id of ['a', 'Robot_1.example-2', 'x'.repeat(64)]) assert.ok(isDeviceId(id), id);
  for (const id of ['', 'x'.repeat(65), 'a b', 'a/b', 'ä', 'a\n', 'a,CN=b', null, 7])
    assert.ok(!isDeviceId(id), String(id));
  const authority = await openAuthority({ dir: join(dir, 'h'), names });
  const csr = await opensslRequest('robot-6');
  await assert.rejects(authority.issueDeviceCertificate({ id: 'a\nCN=b', csr }), { code: 'invalid-request' });
});
