import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { commandSigner, ed25519Signer, gpgSigner, OstreeError, type Signer } from '@treeline/ostree';
import { messageOf, ServerError } from '../errors.ts';
import type { SigningKey } from './repository-settings.ts';

/** How a key is called where people read it: `ed25519:release`, `gpg:release@example.org`, `command:hsm-sign`. */
export function keyName(key: SigningKey): string {
  switch (key.type) {
    case 'ed25519':
      return `ed25519:${key.file}`;
    case 'gpg':
      return `gpg:${key.key}`;
    case 'command':
      return `command:${key.command[0]}`;
  }
}

/**
 * What signs with a key. An ed25519 file is read now, so that a key that was replaced is used from then on.
 *
 * @param keys folder of the keys
 * @throws OstreeError `signature` when it is no key; errors of the file system when it is not there
 */
export async function signerOf(keys: string, key: SigningKey): Promise<Signer> {
  switch (key.type) {
    case 'ed25519':
      return ed25519Signer((await readFile(join(keys, key.file), 'utf8')).trim());
    case 'gpg':
      return gpgSigner({ keyId: key.key, homedir: join(keys, key.home) });
    case 'command': {
      const [program, ...args] = key.command;
      return commandSigner({ kind: key.kind, command: [join(keys, program), ...args] });
    }
  }
}

/** The public key of an ed25519 key file in base64, as clients are told it; null when the file is not there or no key. */
export async function publicKeyOf(keys: string, key: SigningKey): Promise<string | null> {
  if (key.type !== 'ed25519') return null;
  try {
    const secret = (await readFile(join(keys, key.file), 'utf8')).trim();
    ed25519Signer(secret);
    return Buffer.from(secret, 'base64').subarray(32).toString('base64');
  } catch {
    return null;
  }
}

/**
 * Signs a few bytes with each key: better to hear now that one does not work than at the next release.
 *
 * @throws ServerError `unprocessable` naming the key
 */
export async function tryToSign(keys: string, list: readonly SigningKey[]): Promise<void> {
  for (const key of list) {
    try {
      const signer = await signerOf(keys, key);
      await signer.sign(Buffer.from('Treeline tries whether this key signs.\n'));
    } catch (error) {
      const hint = error instanceof OstreeError ? error.hint : undefined;
      throw new ServerError('unprocessable', `${keyName(key)} cannot sign: ${messageOf(error)}`, {
        cause: error,
        hint: hint ?? `Keys are looked for in ${keys}.`,
      });
    }
  }
}
