import { readFile } from 'node:fs/promises';
import type { DeltaName } from '../delta/names.ts';
import { decodeCommit, metadataValue } from '../formats/commit.ts';
import { type Checksum, compareNames } from '../formats/object-name.ts';
import { encodeSummaryEntry } from '../formats/summary.ts';
import { listCollectionRefs, ownCollection } from '../repo/collection-refs.ts';
import { hasObject, objectPath, readMetadata } from '../repo/objects.ts';
import { listRefs, readRef } from '../repo/refs.ts';
import type { Repo } from '../repo/repo.ts';
import type { KnownSummary } from './known.ts';
import type { KnownDelta } from './known-deltas.ts';

/** What somebody has changed in a repository since its last summary. */
export interface SummaryChanges {
  /** Refs that were set, moved or deleted. */
  refs?: readonly string[];
  /** Deltas that were made, retired or deleted. */
  deltas?: readonly DeltaName[];
}

/** What there is to list in a summary. */
export interface Listing {
  /** The repository's own refs, sorted by name. */
  refs: ReadonlyMap<string, Checksum>;
  /** Those of other collections, by collection, then by name. */
  others: ReadonlyMap<string, ReadonlyMap<string, Checksum>>;
  /** Sorted by name; their indexes list them, too. */
  deltas: readonly KnownDelta[];
  /** What is said of each commit, serialised. */
  commits: ReadonlyMap<Checksum, Buffer>;
}

/** Everything that a repository has, and brings its delta indexes up to date. Throws as updateSummary. */
export async function listEverything(repo: Repo, known: KnownSummary, signal?: AbortSignal): Promise<Listing> {
  const collection = ownCollection(repo);
  let refs: Map<string, Checksum> | undefined;
  const others = new Map<string, Map<string, Checksum>>();
  if (collection === null) refs = await listRefs(repo, undefined, { localOnly: true, access: known });
  for (const { collection: id, ref, commit } of await listCollectionRefs(repo)) {
    const list = others.get(id) ?? new Map<string, Checksum>();
    others.set(id, list.set(ref, commit));
  }
  if (collection !== null) {
    refs = others.get(collection);
    others.delete(collection);
  }
  const commits = new Map<Checksum, Buffer>();
  for (const list of [refs ?? new Map<string, Checksum>(), ...others.values()]) {
    for (const commit of list.values()) {
      if (!commits.has(commit)) commits.set(commit, await entryOf(repo, known, commit));
    }
  }
  const deltas = await known.deltas.list(repo, signal);
  await known.deltas.updateIndexes(repo, deltas, signal);
  return { refs: refs ?? new Map<string, Checksum>(), others, deltas, commits };
}

/**
 * What was listed before, with these changes; null where that is not known, or where a change may show in more than one
 * place (collections).
 */
export async function listChanges(
  repo: Repo,
  known: KnownSummary,
  changes: SummaryChanges,
  signal?: AbortSignal,
): Promise<Listing | null> {
  const before = known.listing();
  if (!before || before.others.size > 0 || ownCollection(repo) !== null) return null;
  const refs = new Map(before.refs);
  const commits = new Map(before.commits);
  let sorted = true;
  for (const name of changes.refs ?? []) {
    const commit = await readRef(repo, name);
    if (commit === null) refs.delete(name);
    else {
      sorted &&= refs.has(name);
      refs.set(name, commit);
      if (!commits.has(commit)) commits.set(commit, await entryOf(repo, known, commit));
    }
  }
  const deltas = await known.deltas.update(repo, before.deltas, changes.deltas ?? [], signal);
  const inOrder = sorted ? refs : new Map([...refs].sort(([a], [b]) => compareNames(a, b)));
  return { refs: inOrder, others: before.others, deltas, commits };
}

async function entryOf(repo: Repo, known: KnownSummary, commit: Checksum): Promise<Buffer> {
  const before = known.commits.get(commit);
  return before && hasObject(repo, 'commit', commit) ? before : readEntry(repo, commit);
}

/** The commit is not hashed: damage is for fsck to find, and one damaged commit must not hide all other refs. */
async function readEntry(repo: Repo, commit: Checksum): Promise<Buffer> {
  const data = await readFile(objectPath(repo, 'commit', commit)).catch(() => readMetadata(repo, 'commit', commit));
  const { timestamp, metadata } = decodeCommit(data, `${commit}.commit`);
  const version = metadataValue(metadata, 'version');
  return encodeSummaryEntry({
    commit,
    size: data.length,
    timestamp,
    version: version?.type === 's' ? (version.value as string) : null,
  });
}
