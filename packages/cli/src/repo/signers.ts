import { OstreeError } from '@treeline/ostree/errors.ts';
import { signatureType } from '@treeline/ostree/sign/signature-type.ts';
import { commandSigner, gpgSigner, type Signer } from '@treeline/ostree/sign/signer.ts';
import { type Parsed, UsageError } from './options.ts';

/** Those who are to sign. Throws where a key is malformed or a type unknown. */
export async function signersIn(parsed: Parsed): Promise<Signer[]> {
  const homedir = parsed.text('gpg-homedir');
  return [
    ...(await keySigners(parsed, parsed.list('sign'), parsed.list('sign-from-file'))),
    ...parsed.list('gpg-sign').map((keyId) => gpgSigner({ keyId, ...(homedir !== undefined && { homedir }) })),
  ];
}

/** Signers by secret keys, files of them, and `--sign-command`. */
export async function keySigners(parsed: Parsed, keys: readonly string[], files: readonly string[]): Promise<Signer[]> {
  const name = parsed.text('sign-type') ?? 'ed25519';
  const commands = parsed.list('sign-command').map((command) => commandSignerOf(command, name));
  if (keys.length === 0 && files.length === 0) return commands;
  const type = signatureType(name);
  const fromFiles: string[] = [];
  for (const file of files) {
    const found = await type.readSecretKeys(file);
    if (found.length === 0) throw new OstreeError('signature', `${file}: no secret key in it`);
    fromFiles.push(...found);
  }
  return [...[...keys, ...fromFiles].map((key) => type.signer(key)), ...commands];
}

function commandSignerOf(command: string, kind: string): Signer {
  if (kind !== 'ed25519' && kind !== 'gpg') throw new UsageError(`--sign-command makes no signatures of type ${kind}`);
  return commandSigner({ command: ['/bin/sh', '-c', command], kind });
}
