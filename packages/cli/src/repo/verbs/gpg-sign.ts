import type { Repo } from '@treeline/ostree/repo/repo.ts';
import { anyKeyring } from '@treeline/ostree/sign/gpg-keyring.ts';
import { deleteSignatures, isIssuedBy, signCommit } from '@treeline/ostree/sign/sign.ts';
import { gpgSigner } from '@treeline/ostree/sign/signer.ts';
import { UsageError } from '../options.ts';
import { signingOptions } from '../signing-options.ts';
import { commitOf, openNamedRepo, type RepoVerb, say } from '../verb.ts';

export const gpgSign: RepoVerb = {
  usage: 'COMMIT KEY-ID…',
  options: {
    delete: { type: 'boolean', short: 'd', help: 'Delete signatures having any of the GPG KEY-IDs' },
    'gpg-homedir': signingOptions['gpg-homedir']!,
  },
  async run(parsed, signal) {
    const rev = parsed.positionals[0];
    if (rev === undefined) throw new UsageError('Need a COMMIT to sign', { showHelp: true });
    const keyIds = parsed.positionals.slice(1);
    if (keyIds.length === 0) {
      throw new UsageError('Need at least one GPG KEY-ID to sign with', { showHelp: true });
    }
    const repo = await openNamedRepo(parsed);
    const commit = await commitOf(repo, rev);
    const homedir = parsed.text('gpg-homedir');
    if (parsed.flag('delete')) {
      const issuers = await issuersOf(repo, keyIds, homedir);
      const deleted = await deleteSignatures(repo, commit, 'ostree.gpgsigs', (signature) =>
        issuers.some((issuer) => isIssuedBy(signature, issuer)),
      );
      say(`Signatures deleted: ${deleted}`);
      return;
    }
    const signers = keyIds.map((keyId) => gpgSigner({ keyId, ...(homedir !== undefined && { homedir }) }));
    await signCommit(repo, commit, signers, { signal });
  },
};

const MIN_KEY_ID_DIGITS = 8;

/** Key ids with all keys that belong to the same one, as far as it is in a keyring. */
async function issuersOf(repo: Repo, keyIds: readonly string[], homedir: string | undefined): Promise<string[]> {
  const known = await (await anyKeyring(repo, homedir)).keys();
  return keyIds.flatMap((keyId) => {
    const id = keyId.replace(/^0x/i, '').toUpperCase();
    const keys = known.filter(
      ({ subkeys, users }) =>
        subkeys.some((one) => one.fingerprint.endsWith(id)) || users.some((user) => user.id.includes(keyId)),
    );
    const fingerprints = keys.flatMap(({ subkeys }) => subkeys.map((one) => one.fingerprint));
    const isId = id.length >= MIN_KEY_ID_DIGITS && /^[0-9A-F]+$/.test(id);
    return isId ? [id, ...fingerprints] : fingerprints;
  });
}
