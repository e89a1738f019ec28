import { OstreeError } from '../errors.ts';
import type { Repo } from '../repo/repo.ts';
import { signaturesOf } from '../sign/remote-verification.ts';
import type { Verifier } from '../sign/signature-type.ts';
import { openDelta } from './stored.ts';
import type { Superblock } from './superblock.ts';

/** Whether a superblock carries signatures that somebody could verify. */
export function isSignedDelta({ signed }: Superblock): boolean {
  return signed?.signatures.some(([key]) => key.startsWith('ostree.sign.')) ?? false;
}

/**
 * Checks the signature of a superblock.
 *
 * @returns what `ostree` says of the good signature
 * @throws OstreeError `signature` when there is none, or none that is good
 */
export async function verifySuperblock(superblock: Superblock, verifier: Verifier): Promise<string> {
  const { signed } = superblock;
  if (!signed || !isSignedDelta(superblock)) throw new OstreeError('signature', 'no signatures in static-delta');
  const signatures = signaturesOf(signed.signatures, verifier.metadataKey);
  if (!signatures) {
    throw new OstreeError('signature', `no signature for '${verifier.metadataKey}' in static-delta superblock`);
  }
  return verifier.verify(signed.data, signatures);
}

/** The same for a delta of a repository, or a superblock by its path. */
export async function verifyDelta(repo: Repo, nameOrPath: string, verifier: Verifier): Promise<string> {
  return verifySuperblock((await openDelta(repo, nameOrPath)).superblock, verifier);
}
