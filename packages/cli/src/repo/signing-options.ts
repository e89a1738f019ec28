import { OstreeError } from '@treeline/ostree/errors.ts';
import { signatureType } from '@treeline/ostree/sign/signature-type.ts';
import { commandSigner, gpgSigner, type Signer } from '@treeline/ostree/sign/signer.ts';
import { type OptionSpec, type Parsed, UsageError } from './options.ts';

/** Options with which `commit` and `summary` say who signs. */
export const signingOptions: Record<string, OptionSpec> = {
  'gpg-sign': { type: 'string', multiple: true, argument: 'KEY-ID', help: 'GPG Key ID to sign with' },
  'gpg-homedir': { type: 'string', argument: 'HOMEDIR', help: 'GPG Homedir to use when looking for keyrings' },
  sign: { type: 'string', multiple: true, argument: 'KEY_ID', help: 'Sign with this secret key (base64 for ed25519)' },
  'sign-from-file': {
    type: 'string',
    multiple: true,
    argument: 'NAME',
    help: 'Sign with the secret keys of a file, one on each line',
  },
  'sign-type': { type: 'string', argument: 'NAME', help: "Signature type to use (defaults to 'ed25519')" },
  'sign-command': {
    type: 'string',
    multiple: true,
    argument: 'COMMAND',
    help: 'Sign with what this shell command makes of the data on its input: a raw signature, or with --sign-type=gpg an OpenPGP one',
  },
};

/** Those who are to sign. Throws where a key is malformed or a type unknown. */
export async function signersOf(parsed: Parsed): Promise<Signer[]> {
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
