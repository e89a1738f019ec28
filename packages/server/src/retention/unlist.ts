import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import {
  type Checksum,
  type DeltaName,
  decodeDeltaIndex,
  decodeDeltaList,
  decodeSummary,
  deltaIndexPath,
  isRetiredDelta,
  listDeltas,
  metadataValue,
  type Repo,
  retireDelta,
} from '@treeline/ostree';

/** Deltas from or to one of these commits. */
export function deltasOf(deltas: readonly DeltaName[], commits: { has(commit: Checksum): boolean }): DeltaName[] {
  return deltas.filter(({ from, to }) => commits.has(to) || (from !== null && commits.has(from)));
}

/**
 * Sees to it that no delta index and no summary names what is dropped: retires the deltas from and to it, and renews
 * summary and indexes if they name any of it. The deltas themselves stay for who has read of them. A delta of which both
 * ends are kept again is named again.
 *
 * @param renew writes delta indexes and summary anew
 * @returns the dropped commits that were named until now
 */
export async function unlist(
  repo: Repo,
  dropped: { has(commit: Checksum): boolean },
  renew: () => Promise<void>,
): Promise<Set<Checksum>> {
  const deltas = await listDeltas(repo);
  const retired = new Set(deltasOf(deltas, dropped));
  let isBack = false;
  for (const delta of deltas) {
    const is = isRetiredDelta(repo, delta);
    if (is === retired.has(delta)) continue;
    await retireDelta(repo, delta, !is);
    isBack ||= is;
  }
  const named = await namedCommits(repo, deltas);
  const wrongly = new Set([...named].filter((commit) => dropped.has(commit)));
  if (wrongly.size > 0 || isBack) await renew();
  return wrongly;
}

/** Every commit that a client can read of in the summary or in the index of a delta that is there. */
async function namedCommits(repo: Repo, deltas: readonly DeltaName[]): Promise<Set<Checksum>> {
  const named = new Set<Checksum>();
  const addDeltas = (list: readonly DeltaName[]) => {
    for (const { from, to } of list) {
      named.add(to);
      if (from !== null) named.add(from);
    }
  };
  const summary = await readIfThere(join(repo.path, 'summary'));
  if (summary) {
    const { refs, metadata } = decodeSummary(summary);
    for (const [, { commit }] of refs) named.add(commit);
    const list = metadataValue(metadata, 'ostree.static-deltas');
    if (list) addDeltas(decodeDeltaList(list, `${repo.path}/summary`));
  }
  for (const to of new Set(deltas.map((delta) => delta.to))) {
    const index = await readIfThere(join(repo.path, deltaIndexPath(to)));
    if (index) addDeltas(decodeDeltaIndex(index));
  }
  return named;
}

async function readIfThere(path: string): Promise<Buffer | null> {
  try {
    return await readFile(path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null;
    throw error;
  }
}
