import { updateDeltaIndexes } from '../delta/index-file.ts';
import type { DeltaName } from '../delta/names.ts';
import { deleteDelta, listDeltas } from '../delta/stored.ts';
import { OstreeError } from '../errors.ts';
import type { Checksum } from '../formats/object-name.ts';
import { lockRepo } from '../repo/lock.ts';
import { hasObject } from '../repo/objects.ts';
import type { Repo } from '../repo/repo.ts';

/** Which deltas are deleted. */
export interface PruneDeltasOptions {
  /** Delete the deltas to this commit. Default: those to commits that are not there. */
  to?: Checksum;
  signal?: AbortSignal;
}

/** Deletes static deltas that nobody can use, with what their indexes say of them. Returns which. */
export async function pruneDeltas(repo: Repo, options: PruneDeltasOptions = {}): Promise<DeltaName[]> {
  const { to, signal } = options;
  const isUseless = (delta: DeltaName) => (to === undefined ? !hasObject(repo, 'commit', delta.to) : delta.to === to);
  if (!(await listDeltas(repo)).some(isUseless)) return [];
  const deleted: DeltaName[] = [];
  const unlock = await lockRepo(repo, 'exclusive', signal);
  try {
    for (const delta of await listDeltas(repo)) {
      if (!isUseless(delta)) continue;
      await deleteDelta(repo, delta).catch((error: unknown) => {
        if (!(error instanceof OstreeError) || error.code !== 'not-found') throw error;
      });
      deleted.push(delta);
    }
  } finally {
    unlock();
  }
  for (const commit of new Set(deleted.map((delta) => delta.to))) await updateDeltaIndexes(repo, { to: commit });
  return deleted;
}
