import { generateKeyPairSync } from 'node:crypto';

/** A new pair of ed25519 keys as libostree has them, in base64: seed + public key, and the public key alone. */
export function ed25519Keys(): { secret: string; publicKey: string } {
  const { d, x } = generateKeyPairSync('ed25519').privateKey.export({ format: 'jwk' });
  const [seed, open] = [Buffer.from(d!, 'base64url'), Buffer.from(x!, 'base64url')];
  return { secret: Buffer.concat([seed, open]).toString('base64'), publicKey: open.toString('base64') };
}
