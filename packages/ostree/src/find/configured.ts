import { OstreeError } from '../errors.ts';
import { fetchRemoteSummary } from '../pull/configured-summary.ts';
import { type CollectionRef, isCollectionId } from '../repo/collection-refs.ts';
import { readRemotes } from '../repo/remotes.ts';
import type { Repo } from '../repo/repo.ts';
import type { Candidate, FindRemotesOptions } from './find-remotes.ts';

const PRIORITY = 100;

/** The configured remotes of the collections that are looked for, with their summaries. */
export async function configuredRemotes(
  repo: Repo,
  refs: readonly CollectionRef[],
  options: FindRemotesOptions,
): Promise<Candidate[]> {
  const wanted = new Set(refs.map(({ collection }) => collection));
  const asking: Promise<Candidate>[] = [];
  for (const [remote, { keys }] of await readRemotes(repo)) {
    const collection = keys.get('collection-id');
    if (!collection || !isCollectionId(collection) || !wanted.has(collection)) continue;
    const candidate = { finder: 'config' as const, priority: PRIORITY, url: keys.get('url') ?? '', remote };
    asking.push(fetchIfThere(repo, remote, options).then((summary) => ({ ...candidate, summary })));
  }
  return Promise.all(asking);
}

async function fetchIfThere(repo: Repo, remote: string, options: FindRemotesOptions): Promise<Buffer | null> {
  const { cacheFolder, signal } = options;
  try {
    const files = await fetchRemoteSummary(repo, remote, {
      ...(cacheFolder !== undefined && { cacheFolder }),
      ...(signal && { signal }),
    });
    return files?.summary ?? null;
  } catch (error) {
    if (error instanceof OstreeError) return null; // others may have it
    throw error;
  }
}
