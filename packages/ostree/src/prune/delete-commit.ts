import { OstreeError } from '../errors.ts';
import { assertChecksum, type Checksum } from '../formats/object-name.ts';
import { listCollectionRefs } from '../repo/collection-refs.ts';
import { lockRepo } from '../repo/lock.ts';
import { objectPath } from '../repo/objects.ts';
import { listRefs } from '../repo/refs.ts';
import type { Repo } from '../repo/repo.ts';
import { unlinkObjects } from '../work/unlink-objects.ts';
import { removeCommitCompany } from './object-listing.ts';
import { enableTombstones, writeTombstone } from './tombstone.ts';

/**
 * Deletes one commit and leaves a tombstone; from then on the repository leaves them for every commit that it deletes.
 * What only this commit needed is garbage, for prune.
 *
 * @throws OstreeError `exists` when a ref names it, `not-found` when it is not there
 */
export async function deleteCommit(repo: Repo, commit: Checksum, signal?: AbortSignal): Promise<void> {
  assertChecksum(commit, 'commit');
  const unlock = await lockRepo(repo, 'exclusive', signal);
  try {
    for (const [ref, named] of await listRefs(repo)) {
      if (named === commit) throw new OstreeError('exists', `Commit '${commit}' is referenced by '${ref}'`);
    }
    for (const { collection, ref, commit: named } of await listCollectionRefs(repo, { excludeRemotes: true })) {
      if (named === commit) {
        throw new OstreeError('exists', `Commit '${commit}' is referenced by (${collection}, ${ref})`);
      }
    }
    await enableTombstones(repo);
    if (!unlinkObjects([objectPath(repo, 'commit', commit)])[0]) {
      throw new OstreeError('not-found', `Deleting object ${commit}.commit: unlinkat: No such file or directory`);
    }
    removeCommitCompany(repo, commit);
    await writeTombstone(repo, commit);
  } finally {
    unlock();
  }
}
