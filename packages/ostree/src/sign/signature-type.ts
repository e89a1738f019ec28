import { OstreeError } from '../errors.ts';
import {
  type Ed25519Keys,
  parseEd25519PublicKey,
  parseEd25519SecretKey,
  signEd25519,
  verifyEd25519,
} from './ed25519.ts';
import { readKeyFolder, readKeyLines, readPublicKeyFile } from './key-files.ts';
import type { SignatureKey, Signer } from './signer.ts';

/** Public keys of one signature type, with which to look at signatures. */
export interface Verifier {
  readonly metadataKey: SignatureKey;
  readonly kind: 'ed25519' | 'dummy';
  /** Finds a good signature and returns what `ostree` says of it. Throws OstreeError `signature`. */
  verify(data: Uint8Array, signatures: readonly Uint8Array[]): string | Promise<string>;
}

/** Where public keys are. */
export interface PublicKeys {
  /** As a command line or a config has them: base64 for ed25519. */
  inline?: readonly string[];
  /** A file with a key on each line. */
  file?: string;
  /** A folder laid out as libostree's, see `readKeyFolder`; null for the system's folders. */
  folder?: string | null;
}

/** A signature type of libostree's sign API: everything but GPG. */
export interface SignatureType {
  readonly name: 'ed25519' | 'dummy';
  readonly metadataKey: SignatureKey;
  /** Throws OstreeError `signature` for a malformed key. */
  signer(secret: string): Signer;
  /** The secret keys of a file, as `signer` takes them. */
  readSecretKeys(file: string): Promise<string[]>;
  /** Throws OstreeError `signature` for a malformed key, or where there is none. */
  verifier(keys: PublicKeys): Promise<Verifier>;
}

/** The name of a signature type. Throws `unsupported` in libostree's words. */
export function signatureType(name: string): SignatureType {
  if (name === 'ed25519') return ed25519Type;
  if (name === 'dummy') return dummyType;
  throw new OstreeError('unsupported', 'Requested signature type is not implemented', {
    hint: `There are ed25519 and dummy, not ${name}.`,
  });
}

/** All of them, in libostree's order. */
export const SIGNATURE_TYPES = ['ed25519', 'dummy'] as const;

const ed25519Type: SignatureType = {
  name: 'ed25519',
  metadataKey: 'ostree.sign.ed25519',
  signer(text) {
    const secret = parseEd25519SecretKey(text);
    return { metadataKey: 'ostree.sign.ed25519', sign: async (data) => signEd25519(data, secret) };
  },
  readSecretKeys: readKeyLines,
  async verifier({ inline = [], file, folder }) {
    const trusted: Uint8Array[] = inline.map(parseEd25519PublicKey);
    let revoked: Ed25519Keys['revoked'] = [];
    if (file !== undefined) trusted.push(...(await readPublicKeyFile(file)));
    if (folder !== undefined) {
      const keys = await readKeyFolder(folder ?? undefined);
      trusted.push(...keys.trusted);
      revoked = keys.revoked;
    }
    return {
      metadataKey: 'ostree.sign.ed25519',
      kind: 'ed25519',
      verify: (data, signatures) => verifyEd25519(data, signatures, { trusted, revoked }),
    };
  },
};

/** libostree's type for its tests: the "signature" is the key. It counts only where the environment asks for it. */
const dummyType: SignatureType = {
  name: 'dummy',
  metadataKey: 'ostree.sign.dummy',
  signer(secret) {
    assertDummyEnabled();
    return { metadataKey: 'ostree.sign.dummy', sign: async () => Buffer.from(secret, 'utf8') };
  },
  async readSecretKeys() {
    throw new OstreeError('unsupported', 'dummy: keys are not read from files');
  },
  async verifier({ inline = [], file }) {
    if (file !== undefined) throw new OstreeError('unsupported', 'dummy: keys are not read from files');
    return {
      metadataKey: 'ostree.sign.dummy',
      kind: 'dummy',
      verify: (_data, signatures) => verifyDummy(signatures, inline),
    };
  },
};

function verifyDummy(signatures: readonly Uint8Array[], keys: readonly string[]): string {
  assertDummyEnabled();
  const good = signatures.some((signature) => keys.some((key) => Buffer.from(key, 'utf8').equals(signature)));
  if (good) return 'dummy: Signature verified';
  const found = signatures.length;
  throw new OstreeError(
    'signature',
    `signature: dummy: ${found > 0 ? `incorrect signatures found: ${found}` : 'no signatures'}`,
  );
}

function assertDummyEnabled(): void {
  if (process.env.OSTREE_DUMMY_SIGN_ENABLED === '1') return;
  throw new OstreeError('signature', 'dummy signature type is only for ostree testing');
}
