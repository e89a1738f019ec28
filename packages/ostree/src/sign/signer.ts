import { OstreeError } from '../errors.ts';

/** Where detached metadata (and `summary.sig`) keeps signatures of a kind, as `aay`. */
export type SignatureKey = 'ostree.gpgsigs' | 'ostree.sign.ed25519' | 'ostree.sign.dummy';

/** Something that can sign. */
export interface Signer {
  readonly metadataKey: SignatureKey;
  /** The signature of exactly these bytes. Throws OstreeError `signature` when it cannot be had. */
  sign(data: Uint8Array, signal?: AbortSignal): Promise<Uint8Array>;
}

/** @param secret base64 of seed and public key, 64 bytes, as libostree has it */
export function ed25519Signer(_secret: string): Signer {
  throw new OstreeError('unsupported', 'signing is not there yet');
}

/** libostree's signature type for tests: the "signature" is the key itself. */
export function dummySigner(_key: string): Signer {
  throw new OstreeError('unsupported', 'signing is not there yet');
}

export interface GpgSignerOptions {
  /** Key id, fingerprint or user of a secret key. */
  keyId: string;
  /** GnuPG's home folder; default the user's own. */
  homedir?: string;
}

/** Signs with the `gpg` program. */
export function gpgSigner(_options: GpgSignerOptions): Signer {
  throw new OstreeError('unsupported', 'signing is not there yet');
}

export interface CommandSignerOptions {
  /** Program and arguments; no shell is involved. */
  command: readonly [string, ...string[]];
  /** What it makes: a raw ed25519 signature of 64 bytes, or a detached OpenPGP one. */
  kind: 'ed25519' | 'gpg';
  /** Milliseconds after which it is ended; default 60,000: a token may wait for somebody to touch it. */
  timeout?: number;
}

/** Signs with a program of one's own, for keys in hardware: data on its standard input, the signature on its output. */
export function commandSigner(_options: CommandSignerOptions): Signer {
  throw new OstreeError('unsupported', 'signing is not there yet');
}
