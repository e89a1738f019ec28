import type { Signer } from '@treeline/ostree/sign/signer.ts';
import type { OptionSpec, Parsed } from './options.ts';

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

/** Those who are to sign; what signing needs is loaded only for them. Throws where a key is malformed or a type unknown. */
export async function signersOf(parsed: Parsed): Promise<Signer[]> {
  const asked = ['gpg-sign', 'sign', 'sign-from-file', 'sign-command'].some((name) => parsed.list(name).length > 0);
  return asked ? (await import('./signers.ts')).signersIn(parsed) : [];
}
