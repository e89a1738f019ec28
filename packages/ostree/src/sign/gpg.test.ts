import assert from 'node:assert/strict';
import { generateKeyPairSync, randomBytes } from 'node:crypto';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import fc from 'fast-check';
import type { Metadata } from '../formats/commit.ts';
import { readDetachedMetadata, readMetadata } from '../repo/objects.ts';
import { createRepo, openRepo, type Repo } from '../repo/repo.ts';
import { type GpgHome, gpgHome } from '../testing/gpg.ts';
import { ostree, scratchFolder } from '../testing/scratch.ts';
import { importGpgKeys } from './gpg-import.ts';
import { gpgKeyring } from './gpg-keyring.ts';
import { formatGpgSignature } from './gpg-signature.ts';
import { signaturePackets } from './openpgp.ts';
import { remoteVerification, signaturesOf, verifySigned } from './remote-verification.ts';
import { addMissingSignatures, signCommit } from './sign.ts';
import { commandSigner, ed25519Signer, gpgSigner } from './signer.ts';

/** A repository with an unsigned commit, made by libostree. */
async function commitByOstree(t: TestContext, ...options: string[]): Promise<{ repo: Repo; commit: string }> {
  const folder = scratchFolder(t);
  mkdirSync(join(folder, 'files'));
  writeFileSync(join(folder, 'files/a'), 'a');
  const path = join(folder, 'repo');
  ostree(`--repo=${path}`, 'init', '--mode=archive');
  const commit = ostree(`--repo=${path}`, 'commit', '-b', 'main', ...options, `--tree=dir=${join(folder, 'files')}`);
  return { repo: await openRepo(path), commit };
}

async function withRemote(repo: Repo, home: GpgHome, settings: Record<string, string> = {}): Promise<Repo> {
  const set = Object.entries(settings).map(([key, value]) => `--set=${key}=${value}`);
  ostree(`--repo=${repo.path}`, 'remote', 'add', ...set, 'origin', 'http://localhost:1/');
  const opened = await openRepo(repo.path);
  await importGpgKeys(opened, 'origin', { source: home.gpg('--export') });
  return opened;
}

test('what is signed here is good for libostree, which says the same of it', async (t) => {
  const home = gpgHome(t);
  const key = home.newKey('Ann Example (tests) <ann@example.com>');
  const { repo, commit } = await commitByOstree(t);
  await signCommit(repo, commit, [gpgSigner({ keyId: key, homedir: home.path })]);
  const trusted = await withRemote(repo, home);
  const shown = ostree(`--repo=${repo.path}`, 'show', commit);
  const ring = gpgKeyring([readFileSync(join(repo.path, 'origin.trustedkeys.gpg'))]);
  const signatures = signaturesOf(await readDetachedMetadata(repo, commit), 'ostree.gpgsigs')!;
  const data = await readMetadata(repo, 'commit', commit);
  const [found] = await ring.verify(data, signatures);
  assert.match(shown, /Good signature from "Ann Example <ann@example.com>"/);
  assert.ok(shown.endsWith(`Found 1 signature:\n\n${formatGpgSignature(found!, '  ').trimEnd()}`), shown);
  const verification = await remoteVerification(trusted, 'origin', 'commit');
  const verified = await verifySigned(
    verification!,
    data,
    await readDetachedMetadata(repo, commit),
    `commit ${commit}`,
  );
  assert.equal(verified[0]!.kind, 'gpg');
  await assert.rejects(signCommit(repo, commit, [gpgSigner({ keyId: key, homedir: home.path })]), {
    code: 'exists',
    message: `Commit is already signed with GPG key ${key}`,
  });
});

test('what libostree signed is good here, by several keys of which one is known', async (t) => {
  const home = gpgHome(t);
  const stranger = gpgHome(t);
  const key = home.newKey('Known <known@example.com>');
  const other = stranger.newKey('Stranger <stranger@example.com>');
  const { repo, commit } = await commitByOstree(t, `--gpg-homedir=${stranger.path}`, `--gpg-sign=${other}`);
  const data = await readMetadata(repo, 'commit', commit);
  const trusted = await withRemote(repo, home);
  const verification = (await remoteVerification(trusted, 'origin', 'commit'))!;
  await assert.rejects(
    async () => verifySigned(verification, data, await readDetachedMetadata(repo, commit), `commit ${commit}`),
    new RegExp(
      `^OstreeError: Commit ${commit}: Signature made .* using EdDSA key ID ${other.slice(-16)}\nCan't check signature: public key not found$`,
    ),
  );
  ostree(`--repo=${repo.path}`, 'gpg-sign', `--gpg-homedir=${home.path}`, commit, key);
  const metadata = await readDetachedMetadata(repo, commit);
  assert.equal(signaturesOf(metadata, 'ostree.gpgsigs')!.length, 2);
  await verifySigned(verification, data, metadata, `commit ${commit}`);
  await assert.rejects(verifySigned(verification, Buffer.concat([data, Buffer.from([0])]), metadata, 'commit x'), {
    code: 'signature',
    message: /BAD signature from "Known <known@example.com>"/,
  });
});

test('a good signature counts behind a bad one, at which gpg stops', async (t) => {
  const home = gpgHome(t);
  const signer = gpgSigner({ keyId: home.newKey('Ann <ann@example.com>'), homedir: home.path });
  const ring = gpgKeyring([home.gpg('--export')]);
  const [old, data] = [Buffer.from('old'), Buffer.from('new')];
  const [bad, good] = [await signer.sign(old), await signer.sign(data)];
  const valid = async (...signatures: Uint8Array[]) =>
    (await ring.verify(data, signatures)).map((signature) => signature.valid);
  assert.deepEqual(await valid(bad, good), [false, true]);
  assert.deepEqual(await valid(good, bad), [true, false]);
  assert.deepEqual(await valid(bad, bad, good), [false, false, true]);
  // Not for ever: each costs a process.
  assert.ok(!(await valid(...Array.from({ length: 20 }, () => bad), good)).includes(true));
});

test('an expired and a revoked key sign nothing', async (t) => {
  const home = gpgHome(t);
  const long = ['--faked-system-time', '20200101T120000!'];
  home.gpg(...long, '--passphrase', '', '--quick-generate-key', 'Expired <e@example.com>', 'ed25519', 'sign', '1d');
  const revoked = home.newKey('Revoked <r@example.com>');
  const file = join(scratchFolder(t), 'data');
  writeFileSync(file, 'data');
  const signatures = [
    home.gpg(...long, '--output', '-', '--local-user', 'e@example.com', '--detach-sign', file),
    home.gpg('--output', '-', '--local-user', revoked, '--detach-sign', file),
  ];
  const data = Buffer.from('data');
  const before = await gpgKeyring([home.gpg('--export')]).verify(data, signatures);
  assert.deepEqual(
    before.map(({ valid }) => valid),
    [false, true],
  );
  const certificate = join(home.path, 'openpgp-revocs.d', `${revoked}.rev`);
  writeFileSync(certificate, readFileSync(certificate, 'utf8').replace(/^:(?=-----BEGIN)/m, ''));
  home.gpg('--import', certificate);
  const ring = gpgKeyring([home.gpg('--export')]);
  const [first, second] = await ring.verify(data, signatures);
  assert.match(formatGpgSignature(first!), /BAD signature from "Expired <e@example.com>"\nKey expired Thu Jan {2}2 /);
  assert.match(formatGpgSignature(second!), /\nKey revoked\n/);
  assert.deepEqual([first!.valid, second!.valid], [false, false]);
  assert.deepEqual(
    (await ring.keys()).map(({ subkeys: [key] }) => [key!.expired, key!.revoked]),
    [
      [true, false],
      [false, true],
    ],
  );
});

test('a message that brings its own data, and a signature of nothing, say nothing about ours', async (t) => {
  const home = gpgHome(t);
  const key = home.newKey('Signer <s@example.com>');
  const folder = scratchFolder(t);
  const data = join(folder, 'data');
  writeFileSync(data, 'theirs');
  const ring = gpgKeyring([home.gpg('--export')]);
  const whole = home.gpg('--local-user', key, '--output', '-', '--sign', data);
  const clear = home.gpg('--local-user', key, '--output', '-', '--clearsign', data);
  const text = home.gpg('--local-user', key, '--output', '-', '--textmode', '--detach-sign', data);
  const armored = home.gpg('--local-user', key, '--output', '-', '--armor', '--detach-sign', data);
  for (const signed of [whole, clear]) {
    assert.equal(signaturePackets(signed), null);
    assert.deepEqual(await ring.verify(Buffer.from('ours'), [signed]), []);
  }
  const verdicts = async (blob: Uint8Array) =>
    (await ring.verify(Buffer.from('theirs'), [blob])).map(({ valid }) => valid);
  assert.deepEqual(await verdicts(armored), [true]);
  // Line ends of signed text are not signed.
  assert.deepEqual(await verdicts(text), [false]);
  const selfSignature = signaturePackets(keySignature(home.gpg('--export', key)))!;
  assert.deepEqual(
    (await ring.verify(Buffer.from('ours'), [selfSignature[0]!.bytes])).filter(({ valid }) => valid),
    [],
  );
});

/** The first signature packet of an exported key: by it the key vouches for its user id. */
function keySignature(exported: Buffer): Buffer {
  for (let at = 0; at < exported.length; ) {
    const size = [1, 2, 4][exported[at]! & 3]!;
    const end = at + 1 + size + exported.readUIntBE(at + 1, size);
    if (((exported[at]! >> 2) & 0xf) === 2) return exported.subarray(at, end);
    at = end;
  }
  throw new Error('no signature in the key');
}

test('mutated signatures never verify and never crash', async (t) => {
  const home = gpgHome(t);
  const key = home.newKey('Signer <s@example.com>');
  const data = randomBytes(100);
  const good = Buffer.from(await gpgSigner({ keyId: key, homedir: home.path }).sign(data));
  const ring = gpgKeyring([home.gpg('--export')]);
  await fc.assert(
    fc.asyncProperty(fc.nat(good.length * 8 - 1), fc.nat(good.length), async (bit, cut) => {
      const changed = Buffer.from(good);
      changed[bit >> 3]! ^= 1 << (bit & 7);
      for (const blob of [changed, good.subarray(0, cut), Buffer.concat([good.subarray(cut), good])]) {
        if (blob.equals(good)) continue;
        const found = await ring.verify(data, [blob]);
        // Unhashed parts of a signature may be anything; it is still a signature of the data.
        const isSame = signaturePackets(blob)?.some((packet) => hashedPart(packet.bytes).equals(hashedPart(good)));
        if (!isSame)
          assert.ok(
            found.every(({ valid }) => !valid),
            blob.toString('hex'),
          );
      }
    }),
    { numRuns: 60 },
  );
  const junk = Array.from({ length: 50 }, () => randomBytes(50));
  assert.equal((await ring.verify(data, [...junk, good])).filter(({ valid }) => valid).length, 1);
  await assert.rejects(ring.verify(data, Array<Buffer>(1000).fill(good)), /too many/);
});

/** Version, class, algorithms and hashed subpackets of a signature packet with a header of two or three bytes. */
function hashedPart(packet: Buffer): Buffer {
  const body = packet.subarray(1 + [1, 2, 4, 0][packet[0]! & 3]!);
  return body.length < 6 ? body : body.subarray(0, 6 + body.readUInt16BE(4));
}

test('of a remote without signatures, keys or configuration nothing is good', async (t) => {
  const home = gpgHome(t);
  home.newKey('Signer <s@example.com>');
  const { repo } = await commitByOstree(t);
  const trusted = await withRemote(repo, home, { 'gpg-verify-summary': 'true' });
  const commit = (await remoteVerification(trusted, 'origin', 'commit'))!;
  const summary = (await remoteVerification(trusted, 'origin', 'summary'))!;
  const data = Buffer.from('data');
  const none = /GPG verification enabled, but no signatures found \(use gpg-verify=false in remote config to disable\)/;
  const wrong: (Metadata | null)[] = [
    null,
    [],
    [['ostree.gpgsigs', { type: 's', value: 'x' }]],
    [['ostree.gpgsigs', { type: 'ay', value: Buffer.from('x') }]],
  ];
  for (const metadata of wrong) await assert.rejects(verifySigned(commit, data, metadata, 'commit x'), none);
  for (const value of [[], [Buffer.alloc(0)], [Buffer.from('x')]]) {
    await assert.rejects(
      verifySigned(commit, data, [['ostree.gpgsigs', { type: 'aay', value }]], 'commit x'),
      /No GPG signatures found/,
    );
  }
  await assert.rejects(
    verifySigned(summary, data, null, 'summary'),
    /no summary signatures found \(use gpg-verify-summary/,
  );
});

test('keys are imported by id or all, counted once, and updated', async (t) => {
  const home = gpgHome(t);
  const keys = [home.newKey('A <a@example.com>'), home.newKey('B <b@example.com>')];
  const repo = await createRepo(join(scratchFolder(t), 'repo'));
  repo.config.set('remote "r"', new Map([['url', 'http://localhost:1/']]));
  const source = home.gpg('--export');
  assert.equal(await importGpgKeys(repo, 'r', { source, keyIds: [keys[0]!.slice(-16)] }), 1);
  assert.equal(await importGpgKeys(repo, 'r', { source: home.gpg('--armor', '--export') }), 1);
  assert.equal(await importGpgKeys(repo, 'r', { source }), 0);
  await assert.rejects(importGpgKeys(repo, 'r', { source, keyIds: ['0123456789ABCDEF'] }), /Unable to find key/);
  await assert.rejects(importGpgKeys(repo, 'r', { source: Buffer.from('junk') }), /No data/);
  await assert.rejects(importGpgKeys(repo, 'nobody', { source }), { code: 'not-found' });
  const ring = gpgKeyring([readFileSync(join(repo.path, 'r.trustedkeys.gpg'))]);
  assert.deepEqual((await ring.keys()).map(({ users }) => users[0]!.id).sort(), [
    'A <a@example.com>',
    'B <b@example.com>',
  ]);
});

test('a key that is not there is called that', async (t) => {
  const home = gpgHome(t);
  await assert.rejects(gpgSigner({ keyId: 'FFFFFFFFFFFFFFFF', homedir: home.path }).sign(Buffer.from('x')), {
    code: 'signature',
    message: /No gpg key found with ID FFFFFFFFFFFFFFFF/,
  });
  const { repo, commit } = await commitByOstree(t);
  await assert.rejects(signCommit(repo, commit, [gpgSigner({ keyId: 'nobody', homedir: home.path })]), {
    code: 'signature',
  });
  assert.equal(await readDetachedMetadata(repo, commit), null);
});

test('missing signatures are added once, whatever signs: a key in memory, gpg, a program that says not who it is', async (t) => {
  const home = gpgHome(t);
  const key = home.newKey('Ann <ann@example.com>');
  const other = home.newKey('Bob <bob@example.com>');
  const { repo, commit } = await commitByOstree(t);
  const program = join(scratchFolder(t), 'sign');
  writeFileSync(program, `#!/bin/sh\nexec gpg --homedir '${home.path}' --batch -u ${other} --detach-sign -o -\n`, {
    mode: 0o755,
  });
  const { privateKey } = generateKeyPairSync('ed25519');
  const { d = '', x = '' } = privateKey.export({ format: 'jwk' });
  const secret = Buffer.concat([Buffer.from(d, 'base64url'), Buffer.from(x, 'base64url')]).toString('base64');
  const signers = [
    gpgSigner({ keyId: key, homedir: home.path }),
    commandSigner({ kind: 'gpg', command: [program] }),
    ed25519Signer(secret),
  ];
  assert.deepEqual(await addMissingSignatures(repo, commit, signers.slice(0, 1)), [true]);
  assert.deepEqual(await addMissingSignatures(repo, commit, signers), [false, true, true]);
  const signed = (await readDetachedMetadata(repo, commit))!;
  assert.deepEqual(await addMissingSignatures(repo, commit, signers), [false, false, false]);
  assert.deepEqual(await readDetachedMetadata(repo, commit), signed);
  assert.equal(signaturesOf(signed, 'ostree.gpgsigs')?.length, 2);
  assert.equal(signaturesOf(signed, 'ostree.sign.ed25519')?.length, 1);
});
