import { OstreeError } from '../errors.ts';
import { swap } from '../formats/commit.ts';
import { type Checksum, checksumFromBytes, compareNames } from '../formats/object-name.ts';
import { decode } from '../gvariant/decode.ts';
import type { Variant } from '../gvariant/encode.ts';
import { assertCollectionId, type CollectionRef } from '../repo/collection-refs.ts';
import { isRefName } from '../repo/refs.ts';
import type { Repo } from '../repo/repo.ts';
import { configuredRemotes } from './configured.ts';
import { mountedRemotes } from './mounted.ts';

/** Where a remote was found: in the configuration, or on a medium such as a USB stick. */
export type FinderKind = 'config' | 'mount';

/** Where remotes are looked for. */
export interface FindRemotesOptions {
  /** Where to look. Default everywhere. */
  finders?: readonly FinderKind[];
  /** Folders to take for mounted media instead of those that are mounted. */
  mounts?: readonly string[];
  /** Where summaries are cached; default in the repository, null for nowhere. */
  cacheFolder?: string | null;
  signal?: AbortSignal;
}

/** A remote that may have what is looked for. */
export interface Candidate {
  finder: FinderKind;
  /** The lower, the earlier it is asked. */
  priority: number;
  url: string;
  /** The configured remote that says how its signatures are checked, and as whose refs its are set. */
  remote: string;
  /** Its summary; null when it has none or cannot be reached. */
  summary: Buffer | null;
}

/** A remote that has the newest commit of at least one of the refs. */
export interface FoundRemote {
  finder: FinderKind;
  priority: number;
  url: string;
  /** The configured remote that it belongs to; `<remote>.trustedkeys.gpg` is its keyring. */
  remote: string;
  /** When its summary was written, in seconds since 1970, if that says. */
  lastModified: number | null;
  /** Each ref that was asked for, with its newest commit if this remote has that. */
  refs: (CollectionRef & { commit: Checksum | null })[];
}

/**
 * Finds out which remotes have refs of collections. A remote with a `collection-id` in the configuration is asked for its
 * summary; repositories on mounted media are looked at when a configured remote has a keyring for the collection. Where
 * remotes do not agree, the newest commit counts, by the time that their summaries give it. What cannot be reached is
 * left out.
 *
 * @returns the remotes that have the newest commit of a ref, in the order in which they are to be tried
 * @throws OstreeError `invalid` for what cannot be a ref of a collection
 */
export async function findRemotes(
  repo: Repo,
  refs: readonly CollectionRef[],
  options: FindRemotesOptions = {},
): Promise<FoundRemote[]> {
  for (const { collection, ref } of refs) {
    assertCollectionId(collection);
    if (!isRefName(ref)) throw new OstreeError('invalid', `Invalid ref name ${ref}`);
  }
  const { finders = ['config', 'mount'] } = options;
  const candidates = [
    ...(finders.includes('mount') ? await mountedRemotes(repo, refs, options) : []),
    ...(finders.includes('config') ? await configuredRemotes(repo, refs, options) : []),
  ];
  const read = candidates.flatMap((candidate) => {
    const listing = candidate.summary && readListing(candidate.summary);
    return listing ? [{ candidate, listing }] : [];
  });
  const newest = refs.map((ref) => newestOf(read.map(({ listing }) => listing.entries.get(keyOf(ref)))));
  const found = read.map(({ candidate: { finder, priority, url, remote }, listing }): FoundRemote => {
    const having = refs.map((ref, index) => {
      const commit = listing.entries.get(keyOf(ref))?.commit ?? null;
      return { ...ref, commit: commit === newest[index] ? commit : null };
    });
    return { finder, priority, url, remote, lastModified: listing.lastModified, refs: having };
  });
  return found.filter(({ refs: having }) => having.some(({ commit }) => commit !== null)).sort(compare);
}

const keyOf = ({ collection, ref }: CollectionRef) => `${collection}\n${ref}`;

interface Entry {
  commit: Checksum;
  timestamp: number;
}

function newestOf(entries: (Entry | undefined)[]): Checksum | null {
  let best: Entry | null = null;
  for (const entry of entries) if (entry && (!best || entry.timestamp > best.timestamp)) best = entry;
  return best?.commit ?? null;
}

/**
 * In libostree's order (`ostree_repo_finder_result_compare`), which is what decides whose ref a branch is: by priority,
 * the oldest summary first, then who has least.
 */
function compare(a: FoundRemote, b: FoundRemote): number {
  const count = ({ refs }: FoundRemote) => refs.filter(({ commit }) => commit !== null).length;
  const byTime = a.lastModified && b.lastModified ? a.lastModified - b.lastModified : 0;
  return a.priority - b.priority || byTime || count(a) - count(b) || compareNames(a.remote, b.remote);
}

type RefList = [name: string, [size: bigint, commit: Uint8Array, extra: [string, Variant][]]][];

/** What a summary lists for collections; null for one that is malformed. */
function readListing(summary: Buffer): { entries: Map<string, Entry>; lastModified: number | null } | null {
  try {
    const [refs, metadata] = decode('(a(s(taya{sv}))a{sv})', summary, { object: 'summary' }) as unknown as [
      RefList,
      [string, Variant][],
    ];
    const values = new Map(metadata);
    const entries = new Map<string, Entry>();
    const add = (collection: string, list: RefList) => {
      for (const [ref, [, commit, extra]] of list) {
        const time = new Map(extra).get('ostree.commit.timestamp');
        const timestamp = time?.type === 't' ? Number(BigInt.asIntN(64, swap(time.value as bigint))) : 0;
        entries.set(keyOf({ collection, ref }), { commit: checksumFromBytes(commit, `summary: ${ref}`), timestamp });
      }
    };
    const own = values.get('ostree.summary.collection-id');
    if (own?.type === 's') add(own.value as string, refs);
    const map = values.get('ostree.summary.collection-map');
    if (map?.type === 'a{sa(s(taya{sv}))}') {
      for (const [collection, list] of map.value as unknown as [string, RefList][]) add(collection, list);
    }
    const modified = values.get('ostree.summary.last-modified');
    return { entries, lastModified: modified?.type === 't' ? Number(swap(modified.value as bigint)) : null };
  } catch (error) {
    if (error instanceof OstreeError) return null;
    throw error;
  }
}
