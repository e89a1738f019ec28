import { createPublicKey, type KeyObject, sign } from 'node:crypto';

const OID_COMMON_NAME = Buffer.from('0603550403', 'hex');
const OID_ECDSA_SHA256 = Buffer.from('06082a8648ce3d040302', 'hex');

/** A DER element: tag, length (X.690, 8.1.3), content. */
function der(tag: number, ...parts: Uint8Array[]): Buffer {
  const content = Buffer.concat(parts);
  const size = content.length;
  const bytes = size < 0x80 ? [size] : size < 0x100 ? [0x81, size] : [0x82, size >> 8, size & 0xff];
  return Buffer.concat([Buffer.from([tag, ...bytes]), content]);
}

const sequence = (...parts: Uint8Array[]) => der(0x30, ...parts);

/**
 * A PKCS #10 signing request (RFC 2986) in PEM for an ECDSA P-256 key, with `CN=<id>` and no attributes.
 *
 * Written by hand because it is this small, and an X.509 library would be most of the agent.
 */
export function createSigningRequest(id: string, key: KeyObject): string {
  const name = sequence(der(0x31, sequence(OID_COMMON_NAME, der(0x0c, Buffer.from(id)))));
  const publicKey = createPublicKey(key).export({ format: 'der', type: 'spki' });
  const info = sequence(der(0x02, Buffer.from([0])), name, publicKey, der(0xa0));
  const signature = sign('sha256', info, key);
  const request = sequence(info, sequence(OID_ECDSA_SHA256), der(0x03, Buffer.from([0]), signature));
  const lines = request.toString('base64').match(/.{1,64}/g) ?? [];
  return ['-----BEGIN CERTIFICATE REQUEST-----', ...lines, '-----END CERTIFICATE REQUEST-----', ''].join('\n');
}
