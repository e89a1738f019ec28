import { createPrivateKey, createPublicKey, type KeyObject, sign, verify } from 'node:crypto';
import { OstreeError } from '../errors.ts';

export const ED25519_KEY_BYTES = 32;
const ED25519_SECRET_BYTES = 64;
export const ED25519_SIGNATURE_BYTES = 64;

/** Public keys (32 bytes each) whose signatures count, and those whose do not, even if they are among the former. */
export interface Ed25519Keys {
  trusted: readonly Uint8Array[];
  revoked: readonly Uint8Array[];
}

/** A commit with more signatures than this is not a commit that somebody signed. */
const MAX_SIGNATURES = 256;

/** A public key from base64. Throws `signature` in libostree's words. */
export function parseEd25519PublicKey(text: string): Buffer {
  const key = decodeKey(text, ED25519_KEY_BYTES, 'Invalid ed25519 public key');
  if (!isSmallOrder(key)) return key;
  throw new OstreeError('signature', 'Invalid ed25519 public key: anybody can sign for it (it is of small order)');
}

/**
 * The points of small order, without their sign bits: for a key of zeros, say, signatures can be made without any
 * secret. OpenSSL, unlike libsodium, lets them pass.
 */
const SMALL_ORDER = new Set([
  '00'.repeat(32),
  `01${'00'.repeat(31)}`,
  '26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05',
  'c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a',
  `ec${'ff'.repeat(30)}7f`,
  `ed${'ff'.repeat(30)}7f`,
  `ee${'ff'.repeat(30)}7f`,
]);

function isSmallOrder(key: Buffer): boolean {
  const point = Buffer.from(key);
  point[31]! &= 0x7f;
  return SMALL_ORDER.has(hex(point));
}

/** A secret key (seed and public key) from base64. Throws `signature` in libostree's words. */
export function parseEd25519SecretKey(text: string): Buffer {
  const secret = decodeKey(text, ED25519_SECRET_BYTES, 'Invalid ed25519 secret key');
  if (ed25519PublicKey(secret).equals(secret.subarray(ED25519_KEY_BYTES))) return secret;
  throw new OstreeError('signature', 'Invalid ed25519 secret key: its second half is not the public key of its first');
}

function decodeKey(text: string, length: number, problem: string): Buffer {
  const key = /^[A-Za-z0-9+/=\s]*$/.test(text) ? Buffer.from(text, 'base64') : Buffer.alloc(0);
  if (key.length === length) return key;
  throw new OstreeError(
    'signature',
    `${problem}: Ill-formed input: expected ${length} bytes, got ${key.length} bytes`,
    { hint: 'Keys are base64: the public one of 32 bytes, the secret one of the seed and then the public one.' },
  );
}

/** The public key that belongs to a secret one. */
function ed25519PublicKey(secret: Uint8Array): Buffer {
  const jwk = createPublicKey(privateKey(secret)).export({ format: 'jwk' });
  return Buffer.from(jwk.x!, 'base64url');
}

/** RFC 8410's DER of a private key, up to the seed. */
const PRIVATE_KEY_PREFIX = Buffer.from('302e020100300506032b657004220420', 'hex');

function privateKey(secret: Uint8Array): KeyObject {
  const seed = secret.subarray(0, ED25519_KEY_BYTES);
  return createPrivateKey({ key: Buffer.concat([PRIVATE_KEY_PREFIX, seed]), format: 'der', type: 'pkcs8' });
}

function publicKey(key: Uint8Array): KeyObject {
  return createPublicKey({
    key: { kty: 'OKP', crv: 'Ed25519', x: Buffer.from(key).toString('base64url') },
    format: 'jwk',
  });
}

/** The signature of these bytes. */
export function signEd25519(data: Uint8Array, secret: Uint8Array): Buffer {
  return sign(null, data, privateKey(secret));
}

/** Whether this is the signature of these bytes by this key. */
export function isEd25519Signature(data: Uint8Array, signature: Uint8Array, key: Uint8Array): boolean {
  if (signature.length !== ED25519_SIGNATURE_BYTES || key.length !== ED25519_KEY_BYTES) return false;
  return verify(null, data, publicKey(key), signature);
}

/**
 * Looks for a signature by a key that is trusted and not revoked.
 *
 * @returns what `ostree` says of it
 * @throws OstreeError `signature` when there is none
 */
export function verifyEd25519(data: Uint8Array, signatures: readonly Uint8Array[], keys: Ed25519Keys): string {
  if (signatures.length > MAX_SIGNATURES) {
    throw new OstreeError('signature', `ed25519: ${signatures.length} signatures are too many to check`);
  }
  const revoked = new Set(keys.revoked.map(hex));
  const trusted = keys.trusted.filter((key) => !revoked.has(hex(key))).map((key) => ({ key, object: publicKey(key) }));
  const tried: string[] = [];
  let malformed: Uint8Array | undefined;
  for (const signature of signatures) {
    if (signature.length !== ED25519_SIGNATURE_BYTES) {
      malformed ??= signature;
      continue;
    }
    for (const { key, object } of trusted) {
      if (verify(null, data, object, signature)) {
        return `ed25519: Signature verified successfully with key '${hex(key)}'`;
      }
      tried.push(`key '${hex(key)}'`);
    }
  }
  if (tried.length > 3) throw refused(`Signature couldn't be verified; tried ${tried.length} keys`);
  if (tried.length > 0) throw refused(`Signature couldn't be verified with: ${tried.join('; ')}`);
  if (malformed) {
    throw refused(
      `Invalid signature: Ill-formed input: expected ${ED25519_SIGNATURE_BYTES} bytes, got ${malformed.length} bytes`,
    );
  }
  throw refused('no signatures found');
}

function refused(why: string): OstreeError {
  return new OstreeError('signature', `ed25519: ${why}`);
}

function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('hex');
}
