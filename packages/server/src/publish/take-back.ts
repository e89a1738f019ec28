import { type Checksum, listRefs, prune, pruneDeltas, type Repo } from '@treeline/ostree';
import type { Core } from '../core.ts';
import type { ReleaseRow } from './tables.ts';

/**
 * Deletes from a published folder what was copied for releases that turned out not to be admitted, and that nothing else
 * there needs: at once, since who knows a checksum can fetch what is in the folder, named or not.
 */
export async function takeBack(
  core: Core,
  repo: Repo,
  { releases, signal }: { releases: readonly ReleaseRow[]; signal: AbortSignal },
): Promise<void> {
  const commits = new Set(releases.map(({ commit }) => commit));
  for (const commit of await stillNamed(core, repo, releases)) commits.delete(commit);
  if (commits.size === 0) return;
  await pruneDeltas(repo, { of: commits, signal });
  await prune(repo, {
    refsOnly: true,
    depth: 0,
    signal,
    keep: async (all) => {
      const named = await stillNamed(core, repo, releases);
      return [...all].filter((commit) => !commits.has(commit) || named.has(commit));
    },
  });
}

/** Commits that refs of the repository or other releases of it name. */
async function stillNamed(core: Core, repo: Repo, releases: readonly ReleaseRow[]): Promise<Set<Checksum>> {
  const named = new Set((await listRefs(repo)).values());
  const rows = await core.db
    .selectFrom('releases')
    .select('commit')
    .distinct()
    .where('repository', '=', releases[0]?.repository ?? '')
    .where('state', 'in', ['publishing', 'published'])
    .where(
      'id',
      'not in',
      releases.map(({ id }) => id),
    )
    .execute();
  for (const { commit } of rows) named.add(commit);
  return named;
}
