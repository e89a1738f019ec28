import assert from 'node:assert/strict';
import { generateKeyPairSync } from 'node:crypto';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import fc from 'fast-check';
import { OstreeError } from '../errors.ts';
import type { Metadata } from '../formats/commit.ts';
import { encode } from '../gvariant/encode.ts';
import { readDetachedMetadata, readMetadata } from '../repo/objects.ts';
import { createRepo, openRepo, type Repo } from '../repo/repo.ts';
import { ostree, scratchFolder } from '../testing/scratch.ts';
import { decodeSignatures, remoteVerification, signaturesOf, verifySigned } from './remote-verification.ts';
import { deleteSignatures, signCommit, signSummary } from './sign.ts';
import { commandSigner, dummySigner, ed25519Signer } from './signer.ts';

interface KeyPair {
  secret: string;
  publicKey: string;
}

function newKey(): KeyPair {
  const { d, x } = generateKeyPairSync('ed25519').privateKey.export({ format: 'jwk' });
  const [seed, pub] = [Buffer.from(d!, 'base64url'), Buffer.from(x!, 'base64url')];
  return { secret: Buffer.concat([seed, pub]).toString('base64'), publicKey: pub.toString('base64') };
}

async function repoWithRemote(t: TestContext, settings: Record<string, string>): Promise<Repo> {
  const repo = await createRepo(join(scratchFolder(t), 'repo'));
  const keys = { url: 'http://localhost:1/', 'gpg-verify': 'false', ...settings };
  repo.config.set('remote "origin"', new Map(Object.entries(keys)));
  return repo;
}

const data = Buffer.from('signed data');

async function signed(...keys: KeyPair[]): Promise<Metadata> {
  const value = await Promise.all(keys.map(({ secret }) => ed25519Signer(secret).sign(data)));
  return [['ostree.sign.ed25519', { type: 'aay', value }]];
}

test('a remote demands what its configuration says, GPG signatures of commits by default', async (t) => {
  const repo = await createRepo(join(scratchFolder(t), 'repo'));
  const { publicKey } = newKey();
  const demands = async (settings: Record<string, string>, what: 'commit' | 'summary', o = {}) => {
    repo.config.set('remote "origin"', new Map(Object.entries({ url: 'http://x/', ...settings })));
    const found = await remoteVerification(repo, 'origin', what, o);
    return found && [found.gpg !== null, found.sign?.map(({ kind }) => kind) ?? null];
  };
  const key = { 'verification-ed25519-key': publicKey };
  assert.deepEqual(await demands({}, 'commit'), [true, null]);
  assert.equal(await demands({}, 'summary'), null);
  assert.equal(await demands({ 'gpg-verify': 'false' }, 'commit'), null);
  assert.deepEqual(await demands({ 'gpg-verify-summary': '1' }, 'summary'), [true, null]);
  assert.deepEqual(await demands({ 'gpg-verify': '0', 'sign-verify': 'true' }, 'commit'), [
    false,
    ['ed25519', 'dummy'],
  ]);
  assert.deepEqual(await demands({ 'sign-verify': 'ed25519', ...key }, 'commit'), [true, ['ed25519']]);
  assert.deepEqual(await demands({ 'sign-verify-summary': 'ed25519;', ...key }, 'summary'), [false, ['ed25519']]);
  assert.equal(await demands({ 'sign-verify': 'ed25519', ...key }, 'commit', { gpg: false, sign: false }), null);
  assert.equal(await remoteVerification(repo, undefined, 'commit'), null);
  await assert.rejects(remoteVerification(repo, undefined, 'commit', { gpg: true }), /Must specify remote name/);
  await assert.rejects(remoteVerification(repo, 'nobody', 'commit'), { code: 'not-found' });
  const refused = (settings: Record<string, string>, message: RegExp) =>
    assert.rejects(demands({ 'gpg-verify': 'false', ...settings }, 'commit'), { name: 'OstreeError', message });
  await refused({ 'sign-verify': 'ed25519' }, /^No keys found for required signapi type ed25519$/);
  await refused({ 'sign-verify': 'magic' }, /^Requested signature type is not implemented$/);
  await refused({ 'sign-verify': ';' }, /no signature type/);
  await refused(
    { 'sign-verify': 'ed25519', 'verification-ed25519-key': 'AAAA' },
    /^Failed loading 'ed25519' keys from inline/,
  );
  await refused(
    { 'sign-verify': 'true', 'verification-ed25519-file': '/not/there' },
    /^Failed loading 'ed25519' keys from '\/not/,
  );
  await refused({ 'gpg-verify': 'maybe' }, /neither true nor false/);
  await refused({ 'gpg-verify': 'true', gpgkeypath: '/a,/b;/c' }, /more than one separator/);
  await refused({ 'gpg-verify': 'true', gpgkeypath: ',/not/there' }, /\(\): No such file or directory/);
  await refused({ 'gpg-verify': 'true', gpgkeypath: '/not/there;' }, /\/not\/there.*No such file or directory/);
});

test('keys of the configuration and of its key file count, others do not', async (t) => {
  const [first, second, stranger] = [newKey(), newKey(), newKey()];
  const file = join(scratchFolder(t), 'keys');
  writeFileSync(file, `${second.publicKey}\n`);
  const repo = await repoWithRemote(t, {
    'sign-verify': 'true',
    'verification-ed25519-key': first.publicKey,
    'verification-ed25519-file': file,
  });
  const verification = (await remoteVerification(repo, 'origin', 'commit'))!;
  for (const key of [first, second]) {
    const [found] = await verifySigned(verification, data, await signed(stranger, key), 'commit x');
    const hex = Buffer.from(key.publicKey, 'base64').toString('hex');
    assert.deepEqual(found, { kind: 'ed25519', text: `ed25519: Signature verified successfully with key '${hex}'` });
  }
  const refused = (metadata: Metadata | null, message: RegExp) =>
    assert.rejects(verifySigned(verification, data, metadata, 'commit x'), { code: 'signature', message });
  await refused(await signed(stranger), /^Can't verify commit x: ed25519: Signature couldn't be verified with: key/);
  await refused([], /^Can't verify commit x: No signatures found$/);
  await refused(null, /Can't verify commit without detached metadata/);
  await refused([['ostree.sign.ed25519', { type: 'ay', value: Buffer.alloc(64) }]], /No signatures found/);
  await refused([['ostree.sign.ed25519', { type: 'aay', value: [] }]], /no signatures found/);
  await refused([['ostree.sign.dummy', { type: 'aay', value: [Buffer.from('x')] }]], /dummy.*only for ostree testing/);
});

test('where GPG and another type are demanded, one of them is not enough', async (t) => {
  const key = newKey();
  const repo = await repoWithRemote(t, {
    'gpg-verify': 'true',
    'sign-verify': 'ed25519',
    'verification-ed25519-key': key.publicKey,
  });
  const verification = (await remoteVerification(repo, 'origin', 'commit'))!;
  await assert.rejects(verifySigned(verification, data, await signed(key), 'commit x'), /GPG verification enabled/);
});

test('the dummy type counts only where the environment asks for it', async (t) => {
  const repo = await repoWithRemote(t, { 'sign-verify': 'dummy', 'verification-dummy-key': 'word' });
  const verification = (await remoteVerification(repo, 'origin', 'commit'))!;
  const metadata: Metadata = [['ostree.sign.dummy', { type: 'aay', value: [Buffer.from('word')] }]];
  assert.throws(() => dummySigner('word'), /only for ostree testing/);
  await assert.rejects(verifySigned(verification, data, metadata, 'commit x'), /only for ostree testing/);
  process.env.OSTREE_DUMMY_SIGN_ENABLED = '1';
  t.after(() => delete process.env.OSTREE_DUMMY_SIGN_ENABLED);
  assert.equal((await verifySigned(verification, data, metadata, 'commit x'))[0]!.text, 'dummy: Signature verified');
  const wrong: Metadata = [['ostree.sign.dummy', { type: 'aay', value: [Buffer.from('wor'), Buffer.from('words')] }]];
  await assert.rejects(verifySigned(verification, data, wrong, 'commit x'), /incorrect signatures found: 2/);
});

test('detached metadata of any bytes holds no signature or is refused, and never crashes', async (t) => {
  const key = newKey();
  const repo = await repoWithRemote(t, { 'sign-verify': 'true', 'verification-ed25519-key': key.publicKey });
  const verification = (await remoteVerification(repo, 'origin', 'summary', { gpg: true, sign: false }))!;
  const byType = (await remoteVerification(repo, 'origin', 'commit'))!;
  const good = encode('a{sv}', await signed(key));
  assert.deepEqual(decodeSignatures(Buffer.from('invalid\n')), []);
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.tuple(fc.nat(), fc.nat(255)), { minLength: 1, maxLength: 3 }),
      fc.nat(8),
      async (edits, cut) => {
        const bytes = Buffer.from(good.subarray(0, good.length - cut));
        for (const [at, byte] of edits) bytes[at % bytes.length] = byte;
        const metadata = decodeSignatures(bytes);
        const [signature] = signaturesOf(metadata, 'ostree.sign.ed25519') ?? [];
        const original = signaturesOf(decodeSignatures(good), 'ostree.sign.ed25519')![0]!;
        if (signature && Buffer.from(signature).equals(original)) return;
        await assert.rejects(verifySigned(byType, data, metadata, 'commit x'), OstreeError);
        await assert.rejects(verifySigned(verification, data, metadata, 'summary'), OstreeError);
      },
    ),
    { numRuns: 500 },
  );
});

test('commits and the summary are signed beside what was there, and signatures can be taken away', async (t) => {
  const folder = scratchFolder(t);
  const path = join(folder, 'repo');
  mkdirSync(join(folder, 'files'));
  ostree(`--repo=${path}`, 'init', '--mode=archive');
  const commit = ostree(
    `--repo=${path}`,
    'commit',
    '-b',
    'main',
    '--add-detached-metadata-string=note=kept',
    `--tree=dir=${join(folder, 'files')}`,
  );
  const repo = await openRepo(path);
  const [first, second] = [newKey(), newKey()];
  // Together, so that one could take away what the other adds.
  await Promise.all([first, second].map(({ secret }) => signCommit(repo, commit, [ed25519Signer(secret)])));
  const metadata = (await readDetachedMetadata(repo, commit))!;
  assert.deepEqual(metadata.map(([name]) => name).toSorted(), ['note', 'ostree.sign.ed25519']);
  ostree(`--repo=${path}`, 'show', '--print-detached-metadata-key=ostree.sign.ed25519', commit);
  const signatures = signaturesOf(metadata, 'ostree.sign.ed25519')!;
  const bytes = await readMetadata(repo, 'commit', commit);
  const hex = (all: readonly Uint8Array[]) => all.map((one) => Buffer.from(one).toString('hex')).toSorted();
  const expected = await Promise.all([first, second].map(({ secret }) => ed25519Signer(secret).sign(bytes)));
  assert.deepEqual(hex(signatures), hex(expected));
  const isFirst = (signature: Uint8Array) => Buffer.from(signature).equals(signatures[0]!);
  assert.equal(await deleteSignatures(repo, commit, 'ostree.sign.ed25519', isFirst), 1);
  assert.equal(await deleteSignatures(repo, commit, 'ostree.sign.ed25519', () => true), 1);
  assert.deepEqual(await readDetachedMetadata(repo, commit), [['note', { type: 's', value: 'kept' }]]);

  await assert.rejects(signSummary(repo, [ed25519Signer(first.secret)]), { code: 'not-found' });
  ostree(`--repo=${path}`, 'summary', '-u');
  await signSummary(repo, [ed25519Signer(first.secret)]);
  repo.config.set(
    'remote "o"',
    new Map([
      ['sign-verify-summary', 'ed25519'],
      ['verification-ed25519-key', first.publicKey],
    ]),
  );
  const verification = (await remoteVerification(repo, 'o', 'summary'))!;
  const file = (name: string) => readFileSync(join(path, name));
  await verifySigned(verification, file('summary'), decodeSignatures(file('summary.sig')), 'summary');
});

test('a program signs, and what it does wrong is said', async () => {
  const { secret, publicKey } = newKey();
  const script = (code: string, o: object = {}) =>
    commandSigner({ command: [process.execPath, '-e', code], kind: 'ed25519', ...o });
  const seed = Buffer.from(secret, 'base64').subarray(0, 32).toString('hex');
  const honest = `
    const der = Buffer.from('302e020100300506032b657004220420${seed}', 'hex');
    const key = crypto.createPrivateKey({ key: der, format: 'der', type: 'pkcs8' });
    process.stdout.write(crypto.sign(null, require('node:fs').readFileSync(0), key));`;
  const large = Buffer.alloc(3_000_000, 'x');
  assert.deepEqual(await script(honest, { publicKey }).sign(large), await ed25519Signer(secret).sign(large));
  const refused = (signer: ReturnType<typeof script>, message: RegExp, signal?: AbortSignal) =>
    assert.rejects(signer.sign(data, signal), message);
  await refused(script(honest, { publicKey: newKey().publicKey }), /its signature is not one by the key/);
  await refused(script('console.log(1)'), /printed 2 bytes, not an ed25519 signature of 64/);
  await refused(script('console.error("token is locked"); process.exit(3)'), /exit code 3: token is locked/);
  await refused(script('setInterval(() => {}, 1000)', { timeout: 300 }), /did not end within 0.3 seconds/);
  await refused(script('for (;;) require("node:fs").writeSync(1, "x".repeat(10000))'), /printed more than/);
  await refused(script('setInterval(() => {}, 1000)'), /abort/, AbortSignal.timeout(200));
  await refused(commandSigner({ command: ['/not/there'], kind: 'ed25519' }), /no such program/);
  await refused(commandSigner({ command: ['echo', 'x'], kind: 'gpg' }), /is no OpenPGP signature/);
});
