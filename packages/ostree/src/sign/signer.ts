import { OstreeError } from '../errors.ts';
import { ED25519_SIGNATURE_BYTES, isEd25519Signature, parseEd25519PublicKey } from './ed25519.ts';
import { gpgError, runUserGpg } from './gpg.ts';
import { parseKeyListing } from './gpg-key.ts';
import { signaturePackets } from './openpgp.ts';
import { runProgram } from './program.ts';
import { signatureType } from './signature-type.ts';

/** Where detached metadata (and `summary.sig`) keeps signatures of a kind, as `aay`. */
export type SignatureKey = 'ostree.gpgsigs' | 'ostree.sign.ed25519' | 'ostree.sign.dummy';

/** Something that can sign. */
export interface Signer {
  readonly metadataKey: SignatureKey;
  /** The signature of exactly these bytes. Throws OstreeError `signature` when it cannot be had. */
  sign(data: Uint8Array, signal?: AbortSignal): Promise<Uint8Array>;
  /** Who signs, for "is already signed with GPG key …": ids or fingerprints of the key and its subkeys. */
  readonly key?: {
    name: string;
    /** Asks which those are. */
    issuers(signal?: AbortSignal): Promise<readonly string[]>;
  };
}

/**
 * Signs with a key in memory.
 *
 * @param secret base64 of seed and public key, 64 bytes, as libostree has it
 * @throws OstreeError `signature` when it is none
 */
export function ed25519Signer(secret: string): Signer {
  return signatureType('ed25519').signer(secret);
}

/** libostree's signature type for tests: the "signature" is the key itself. It proves nothing. */
export function dummySigner(key: string): Signer {
  return signatureType('dummy').signer(key);
}

/** With which key GPG signs. */
export interface GpgSignerOptions {
  /** Key id, fingerprint or user of a secret key. */
  keyId: string;
  /** GnuPG's home folder; default the user's own. */
  homedir?: string;
}

/** Signs with the `gpg` program, whose agent may ask for a passphrase. */
export function gpgSigner({ keyId, homedir }: GpgSignerOptions): Signer {
  return {
    metadataKey: 'ostree.gpgsigs',
    key: { name: keyId, issuers: (signal) => gpgIssuers(homedir, keyId, signal) },
    async sign(data, signal) {
      const args = ['--detach-sign', '--local-user', keyId, '--output', '-'];
      const result = await runUserGpg(homedir, args, { input: data, ...(signal && { signal }) });
      if (result.status.includes('[GNUPG:] INV_SGNR') || /No secret key/.test(result.errors)) {
        throw new OstreeError('signature', `No gpg key found with ID ${keyId} (homedir: ${homedir ?? '<default>'})`, {
          hint: 'List secret keys with `gpg --list-secret-keys`.',
        });
      }
      if (result.code !== 0) throw gpgError('Failure signing', result);
      return detachedSignature(result.output, 'gpg');
    },
  };
}

/** Fingerprints of the keys that a key id stands for in a home folder of gpg; none when it has no such key. */
async function gpgIssuers(homedir: string | undefined, keyId: string, signal?: AbortSignal): Promise<string[]> {
  const args = [
    '--with-colons',
    '--fixed-list-mode',
    '--with-fingerprint',
    '--with-fingerprint',
    '--list-keys',
    '--',
    keyId,
  ];
  const result = await runUserGpg(homedir, args, { ...(signal && { signal }) });
  if (result.code !== 0) return [];
  return parseKeyListing(result.output.toString('utf8')).flatMap(({ subkeys }) =>
    subkeys.map((one) => one.fingerprint),
  );
}

/** A program that signs. */
export interface CommandSignerOptions {
  /** Program and arguments; no shell is involved. */
  command: readonly [string, ...string[]];
  /** What it makes: a raw ed25519 signature of 64 bytes, or a detached OpenPGP one. */
  kind: 'ed25519' | 'gpg';
  /** In base64; what the program makes is then checked, so that a wrong key is noticed at once. For ed25519 only. */
  publicKey?: string;
  /** Milliseconds after which it is ended; default 60,000: a token may wait for somebody to touch it. */
  timeout?: number;
}

/**
 * Signs with a program of one's own, for keys in hardware: the data on its standard input, the signature and nothing
 * else on its standard output, exit code 0.
 */
export function commandSigner(options: CommandSignerOptions): Signer {
  const { command, kind, timeout = 60_000 } = options;
  const [program, ...args] = command;
  const publicKey = options.publicKey === undefined ? null : parseEd25519PublicKey(options.publicKey);
  return {
    metadataKey: kind === 'gpg' ? 'ostree.gpgsigs' : 'ostree.sign.ed25519',
    async sign(data, signal) {
      const result = await runProgram(program, args, {
        input: data,
        timeout,
        maxOutputBytes: 64 * 1024,
        ...(signal && { signal }),
      });
      if (result.code !== 0) {
        const said = result.errors.trim().split('\n').at(-1);
        const ended = result.code === null ? 'was ended by a signal' : `ended with exit code ${result.code}`;
        throw new OstreeError('signature', `${program}: ${ended}${said ? `: ${said}` : ''}`);
      }
      if (kind === 'gpg') return detachedSignature(result.output, program);
      const signature = result.output;
      if (signature.length !== ED25519_SIGNATURE_BYTES) {
        throw new OstreeError(
          'signature',
          `${program}: printed ${signature.length} bytes, not an ed25519 signature of ${ED25519_SIGNATURE_BYTES}`,
          { hint: 'It must print the raw signature and nothing else, not even a newline.' },
        );
      }
      if (publicKey && !isEd25519Signature(data, signature, publicKey)) {
        throw new OstreeError('signature', `${program}: its signature is not one by the key ${options.publicKey}`);
      }
      return signature;
    },
  };
}

/** A detached OpenPGP signature in binary form, checked to be one. */
function detachedSignature(output: Uint8Array, program: string): Buffer {
  const packets = signaturePackets(output);
  if (packets) return Buffer.concat(packets.map(({ bytes }) => bytes));
  throw new OstreeError('signature', `${program}: what it printed (${output.length} bytes) is no OpenPGP signature`);
}
