import { generateKeyPairSync } from 'node:crypto';

/** A new key in the form that `ostree sign` has: base64, the secret one of seed and public key. */
export function newEd25519Key(): { secretKey: string; publicKey: string } {
  const { d = '', x = '' } = generateKeyPairSync('ed25519').privateKey.export({ format: 'jwk' });
  const publicKey = Buffer.from(x, 'base64url');
  const secretKey = Buffer.concat([Buffer.from(d, 'base64url'), publicKey]).toString('base64');
  return { secretKey, publicKey: publicKey.toString('base64') };
}
