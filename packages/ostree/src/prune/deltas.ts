import { writeIndex } from '../delta/index-file.ts';
import type { DeltaName } from '../delta/names.ts';
import { deleteDelta, isRetiredDelta, listDeltas, superblockDigest } from '../delta/stored.ts';
import { OstreeError } from '../errors.ts';
import type { Checksum } from '../formats/object-name.ts';
import { lockRepo } from '../repo/lock.ts';
import { hasObject } from '../repo/objects.ts';
import type { Repo } from '../repo/repo.ts';

/** Which deltas are deleted. */
export interface PruneDeltasOptions {
  /** Delete the deltas to this commit. Default: those to commits that are not there. */
  to?: Checksum;
  /** Delete the deltas to or from one of these commits. */
  of?: ReadonlySet<Checksum>;
  signal?: AbortSignal;
}

/** Deletes static deltas that nobody can use, with what their indexes say of them. Returns which. */
export async function pruneDeltas(repo: Repo, options: PruneDeltasOptions = {}): Promise<DeltaName[]> {
  const { to, of, signal } = options;
  const isUseless = (delta: DeltaName): boolean => {
    if (to !== undefined) return delta.to === to;
    if (of) return of.has(delta.to) || (delta.from !== null && of.has(delta.from));
    return !hasObject(repo, 'commit', delta.to);
  };
  if (!(await listDeltas(repo)).some(isUseless)) return [];
  const unlock = await lockRepo(repo, 'exclusive', signal);
  try {
    const [useless, kept] = [[] as DeltaName[], [] as DeltaName[]];
    for (const delta of await listDeltas(repo)) (isUseless(delta) ? useless : kept).push(delta);
    // First they are not named any more, then they go.
    for (const commit of new Set(useless.map((delta) => delta.to))) {
      const listed = kept.filter((delta) => delta.to === commit && !isRetiredDelta(repo, delta));
      const digests = listed.map(async (delta) => ({ ...delta, superblock: await superblockDigest(repo, delta) }));
      await writeIndex(repo, commit, await Promise.all(digests));
    }
    for (const delta of useless) {
      await deleteDelta(repo, delta).catch((error: unknown) => {
        if (!(error instanceof OstreeError) || error.code !== 'not-found') throw error;
      });
    }
    return useless;
  } finally {
    unlock();
  }
}
