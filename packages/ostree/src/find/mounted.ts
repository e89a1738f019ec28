import { readdirSync, readFileSync, realpathSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { OstreeError } from '../errors.ts';
import { encodeSummary, type SummaryRef } from '../formats/summary.ts';
import { type CollectionRef, listCollectionRefs } from '../repo/collection-refs.ts';
import { readCommit } from '../repo/objects.ts';
import { readRemotes } from '../repo/remotes.ts';
import { openRepo, type Repo } from '../repo/repo.ts';
import type { Candidate, FindRemotesOptions } from './find-remotes.ts';

const PRIORITY = 50;
/** Where a medium may have a repository, besides `.ostree/repos.d` (`ostree_repo_finder_mount`). */
const WELL_KNOWN = ['.ostree/repo', 'ostree/repo', 'var/lib/flatpak/repo'];

/** The repositories on mounted media, for each configured remote of a collection that is looked for. */
export async function mountedRemotes(
  repo: Repo,
  refs: readonly CollectionRef[],
  options: FindRemotesOptions,
): Promise<Candidate[]> {
  const wanted = new Set(refs.map(({ collection }) => collection));
  const keyrings = new Map<string, string>();
  for (const [remote, { keys }] of await readRemotes(repo)) {
    const collection = keys.get('collection-id');
    if (collection && wanted.has(collection) && !keyrings.has(collection)) keyrings.set(collection, remote);
  }
  const found: Candidate[] = [];
  for (const mount of keyrings.size > 0 ? (options.mounts ?? mountedMedia()) : []) {
    for (const path of repositoriesOn(mount, repo)) {
      options.signal?.throwIfAborted();
      for (const [collection, remote] of keyrings) {
        const summary = await listing(path, collection);
        if (!summary) continue;
        found.push({ finder: 'mount', priority: PRIORITY, url: `${pathToFileURL(path)}`, remote, summary });
      }
    }
  }
  return found;
}

/** Paths of the repositories of a medium: links must not lead away from it. */
function repositoriesOn(mount: string, own: Repo): string[] {
  const device = statSync(mount, { throwIfNoEntry: false })?.dev;
  const folder = join(mount, '.ostree/repos.d');
  const named = listNames(folder).map((name) => join(folder, name));
  const paths = new Set<string>();
  for (const path of [...named, ...WELL_KNOWN.map((name) => join(mount, name))]) {
    try {
      const real = realpathSync(path);
      if (statSync(real).dev === device && real !== realpathSync(own.path)) paths.add(real);
    } catch {
      // a dangling link, or nothing there
    }
  }
  return [...paths];
}

function listNames(folder: string): string[] {
  try {
    return readdirSync(folder).sort();
  } catch {
    return [];
  }
}

/** The refs of one collection in a repository as a summary lists them; null when it has none. */
async function listing(path: string, collection: string): Promise<Buffer | null> {
  try {
    const repo = await openRepo(path);
    const refs = new Map<string, SummaryRef>();
    for (const { ref, commit } of await listCollectionRefs(repo, { collection, excludeRemotes: true })) {
      const { timestamp } = await readCommit(repo, commit);
      refs.set(ref, { commit, size: 0, timestamp });
    }
    if (refs.size === 0) return null;
    return encodeSummary({ refs, metadata: [['ostree.summary.collection-id', { type: 's', value: collection }]] });
  } catch (error) {
    if (error instanceof OstreeError) return null; // not a repository, or a damaged one
    throw error;
  }
}

/** Where media are mounted that people plug in: what a file manager would show. */
function mountedMedia(): string[] {
  let mounts: string;
  try {
    mounts = readFileSync('/proc/self/mounts', 'utf8');
  } catch {
    return [];
  }
  const plain = (text: string) =>
    text.replace(/\\([0-7]{3})/g, (_, digits: string) => String.fromCharCode(Number.parseInt(digits, 8)));
  return mounts
    .split('\n')
    .map((line) => plain(line.split(' ')[1] ?? ''))
    .filter((path) => path.startsWith('/media/') || path.startsWith('/run/media/'));
}
