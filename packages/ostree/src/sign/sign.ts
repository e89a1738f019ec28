import { OstreeError } from '../errors.ts';
import type { Checksum } from '../formats/object-name.ts';
import type { Repo } from '../repo/repo.ts';
import type { Signer } from './signer.ts';

/**
 * Adds signatures of a commit to its detached metadata.
 *
 * @throws OstreeError `not-found` without the commit, `exists` when this GPG key has signed it already
 */
export async function signCommit(_repo: Repo, _commit: Checksum, _signers: readonly Signer[]): Promise<void> {
  throw new OstreeError('unsupported', 'signing is not there yet');
}

/** Adds signatures of the repository's summary, as it is on disk, to `summary.sig`. Throws `not-found` without one. */
export async function signSummary(_repo: Repo, _signers: readonly Signer[]): Promise<void> {
  throw new OstreeError('unsupported', 'signing is not there yet');
}
