import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { generateKeyPairSync, randomBytes } from 'node:crypto';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import fc from 'fast-check';
import { OstreeError } from '../errors.ts';
import { scratchFolder } from '../testing/scratch.ts';
import {
  type Ed25519Keys,
  isEd25519Signature,
  parseEd25519PublicKey,
  parseEd25519SecretKey,
  verifyEd25519,
} from './ed25519.ts';
import { readKeyFolder, readPublicKeyFile } from './key-files.ts';
import { ed25519Signer } from './signer.ts';

/** Test 2 of RFC 8032, section 7.1. */
const SEED = '4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb';
const PUBLIC = '3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c';
const SIGNATURE =
  '92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00';
const secret = Buffer.from(SEED + PUBLIC, 'hex').toString('base64');
const publicKey = Buffer.from(PUBLIC, 'hex');
const data = Buffer.from([0x72]);

function randomPublicKey(): Buffer {
  const jwk = generateKeyPairSync('ed25519').publicKey.export({ format: 'jwk' });
  return Buffer.from(jwk.x!, 'base64url');
}

test('signs as RFC 8032 says', async () => {
  const signer = ed25519Signer(secret);
  assert.equal(signer.metadataKey, 'ostree.sign.ed25519');
  assert.equal(Buffer.from(await signer.sign(data)).toString('hex'), SIGNATURE);
  assert.ok(isEd25519Signature(data, Buffer.from(SIGNATURE, 'hex'), publicKey));
});

test('openssl accepts what is signed here, and its signatures are good here', async (t) => {
  const folder = scratchFolder(t);
  const at = (name: string) => join(folder, name);
  const openssl = (...args: string[]) => execFileSync('openssl', args, { stdio: ['ignore', 'pipe', 'pipe'] });
  openssl('genpkey', '-algorithm', 'ed25519', '-out', at('key.pem'));
  const seed = openssl('pkey', '-in', at('key.pem'), '-outform', 'DER').subarray(-32);
  const pub = openssl('pkey', '-in', at('key.pem'), '-pubout', '-outform', 'DER').subarray(-32);
  const bytes = randomBytes(5000);
  writeFileSync(at('data'), bytes);
  writeFileSync(at('ours'), await ed25519Signer(Buffer.concat([seed, pub]).toString('base64')).sign(bytes));
  openssl('pkeyutl', '-verify', '-rawin', '-inkey', at('key.pem'), '-in', at('data'), '-sigfile', at('ours'));
  const theirs = openssl('pkeyutl', '-sign', '-rawin', '-inkey', at('key.pem'), '-in', at('data'));
  const said = verifyEd25519(bytes, [theirs], { trusted: [pub], revoked: [] });
  assert.equal(said, `ed25519: Signature verified successfully with key '${pub.toString('hex')}'`);
});

test('a key that is none is refused, with the length that it should have', () => {
  assert.throws(() => parseEd25519PublicKey('AAAA'), /Invalid ed25519 public key: .*expected 32 bytes, got 3 bytes/);
  assert.throws(() => parseEd25519PublicKey('not base64!'), { code: 'signature' });
  assert.throws(() => parseEd25519PublicKey(Buffer.alloc(32).toString('base64')), /anybody can sign for it/);
  assert.throws(() => ed25519Signer(SEED), /Invalid ed25519 secret key: .*expected 64 bytes/);
  const mismatched = Buffer.concat([Buffer.from(SEED, 'hex'), randomPublicKey()]).toString('base64');
  assert.throws(() => parseEd25519SecretKey(mismatched), /not the public key of its first/);
});

test('one good signature by a trusted key is enough, whatever else is there', () => {
  const good = Buffer.from(SIGNATURE, 'hex');
  const keys = { trusted: [randomPublicKey(), publicKey], revoked: [randomPublicKey()] };
  verifyEd25519(data, [Buffer.from('junk'), randomBytes(64), good], keys);
});

test('nothing but a signature of these bytes by a trusted key counts', () => {
  const good = Buffer.from(SIGNATURE, 'hex');
  const trusted: Ed25519Keys = { trusted: [publicKey], revoked: [] };
  const refused = (message: RegExp, signatures: Uint8Array[], keys = trusted, bytes = data) =>
    assert.throws(() => verifyEd25519(bytes, signatures, keys), { code: 'signature', message });
  refused(/no signatures found/, []);
  refused(/no signatures found/, [good], { trusted: [], revoked: [] });
  refused(/no signatures found/, [good], { trusted: [publicKey], revoked: [publicKey] });
  refused(/expected 64 bytes, got 63 bytes/, [good.subarray(1)]);
  refused(/couldn't be verified with: key '3d40/, [good], trusted, Buffer.from([0x73]));
  refused(/couldn't be verified with: key/, [good], { trusted: [randomPublicKey()], revoked: [] });
  refused(/couldn't be verified; tried 4 keys/, [good], {
    trusted: Array.from({ length: 4 }, randomPublicKey),
    revoked: [],
  });
  refused(/too many/, Array(100_000).fill(Buffer.alloc(64)));
});

test('a signature with any bit changed is refused', () => {
  const good = Buffer.from(SIGNATURE, 'hex');
  fc.assert(
    fc.property(fc.nat(511), (bit) => {
      const changed = Buffer.from(good);
      changed[bit >> 3]! ^= 1 << (bit & 7);
      assert.throws(() => verifyEd25519(data, [changed], { trusted: [publicKey], revoked: [] }), OstreeError);
    }),
    { numRuns: 200 },
  );
});

test('a key file has a key on each line; other lines are passed over', async (t) => {
  const file = join(scratchFolder(t), 'keys');
  writeFileSync(file, `${randomPublicKey().toString('base64')}\n\nAAAA\n${publicKey.toString('base64')}`);
  const keys = await readPublicKeyFile(file);
  assert.equal(keys.length, 2);
  assert.deepEqual(keys[1], publicKey);
  writeFileSync(file, 'AAAA\n');
  await assert.rejects(readPublicKeyFile(file), /no valid keys in file/);
  await assert.rejects(readPublicKeyFile(`${file}.not`), /is not a regular file/);
  await assert.rejects(readPublicKeyFile(join(file, '..')), /is not a regular file/);
});

test('a key folder trusts and revokes', async (t) => {
  const folder = scratchFolder(t);
  await assert.rejects(readKeyFolder(folder), /no keys loaded/);
  mkdirSync(join(folder, 'trusted.ed25519.d'));
  mkdirSync(join(folder, 'revoked.ed25519.d'));
  writeFileSync(join(folder, 'trusted.ed25519'), randomPublicKey().toString('base64'));
  writeFileSync(join(folder, 'trusted.ed25519.d/a'), publicKey.toString('base64'));
  writeFileSync(join(folder, 'trusted.ed25519.d/broken'), 'junk');
  const keys = await readKeyFolder(folder);
  assert.equal(keys.trusted.length, 2);
  verifyEd25519(data, [Buffer.from(SIGNATURE, 'hex')], keys);
  writeFileSync(join(folder, 'revoked.ed25519.d/a'), `${publicKey.toString('base64')}\n`);
  const now = await readKeyFolder(folder);
  assert.throws(() => verifyEd25519(data, [Buffer.from(SIGNATURE, 'hex')], now), { code: 'signature' });
  // A list of revoked keys that cannot be read must not bring them to life.
  writeFileSync(join(folder, 'revoked.ed25519.d/a'), 'broken');
  await assert.rejects(readKeyFolder(folder), /what is revoked/);
});
