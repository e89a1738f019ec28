import { readFile } from 'node:fs/promises';
import { encodeDeltaList, type ListedDelta, STATIC_DELTAS, updateDeltaIndexes } from '../delta/index-file.ts';
import { decodeCommit, type Metadata, metadataValue, swap } from '../formats/commit.ts';
import { type Checksum, compareNames } from '../formats/object-name.ts';
import { decodeSummaryEntry, encodeSummaryEntry, joinSummary } from '../formats/summary.ts';
import { encode, type Value, type Variant } from '../gvariant/encode.ts';
import { listCollectionRefs, ownCollection } from '../repo/collection-refs.ts';
import { lockRepo, SUMMARY_LOCK, takeTurn } from '../repo/lock.ts';
import { hasObject, objectPath, readMetadata } from '../repo/objects.ts';
import { listRefs } from '../repo/refs.ts';
import type { Repo } from '../repo/repo.ts';
import { repoSettings } from '../repo/settings.ts';
import { addSignatures, signCommit } from '../sign/sign.ts';
import type { Signer } from '../sign/signer.ts';
import { type KnownSummary, readKnownSummary } from './known.ts';
import { writeMetadataCommit } from './metadata-commit.ts';
import { type PublishSummaryOptions, publishSummary } from './publish.ts';

/** What a summary says beside the refs, who signs it, and how it takes the place of the one before. */
export interface UpdateSummaryOptions extends PublishSummaryOptions {
  /** Further metadata; keys of one's own should have a prefix. What the repository says itself wins. */
  metadata?: Metadata;
  /** Milliseconds since 1970; default now. */
  now?: number;
  /** Who signs the summary, and the metadata commit of a collection. */
  signers?: readonly Signer[];
  /**
   * Whether a repository with a collection also gets a commit of `ostree-metadata` with the same metadata, as `ostree
   * summary -u` makes it. Default true.
   */
  metadataCommit?: boolean;
}

/**
 * Brings a repository's summary and delta indexes up to date with its refs (not those of remotes, but for remotes with
 * a collection) and deltas. Commits that the summary had before are not read again, and superblocks that have not
 * changed are not hashed again: see KnownSummary for why that cannot go wrong. The refs are read at one moment or
 * another; who changes one meanwhile updates the summary afterwards, and updates wait for one another.
 *
 * Delta indexes are written before the summary, which is replaced as a whole, together with its signatures: see
 * publishSummary, also for what a grace is good for. Without signers a signature of the one before is removed, since it
 * would not fit any more.
 *
 * @throws OstreeError `not-found` when a ref names a commit that is not there, `corrupt` when one or a ref is damaged,
 *   `signature` when a signer cannot sign (then nothing has changed but delta indexes)
 */
export async function updateSummary(repo: Repo, options: UpdateSummaryOptions = {}): Promise<void> {
  const { signal, signers = [], metadata = [], now = Date.now() } = options;
  const collection = ownCollection(repo);
  // Two updates at once could put the older list in place last.
  const turn = await takeTurn(repo, SUMMARY_LOCK, signal);
  try {
    if (collection !== null && options.metadataCommit !== false) {
      const commit = await writeMetadataCommit(repo, collection, metadata, { signal, now });
      if (signers.length > 0) await signCommit(repo, commit, signers, signal ? { signal } : {});
    }
    let unlock = await lockRepo(repo, 'shared', signal); // what is listed is not pruned meanwhile
    try {
      const known = readKnownSummary(repo);
      const { refs, others } = await listEntries(repo, known, collection);
      const deltas = await updateDeltaIndexes(repo, {
        digest: (delta) => known.digest(delta),
        ...(signal && { signal }),
      });
      const summary = joinSummary(refs, withOwnKeys(repo, { metadata, collection, others, deltas, now }));
      const signatures =
        signers.length > 0
          ? encode('a{sv}', await addSignatures(summary, [], signers, signal ? { signal } : {}))
          : null;
      signal?.throwIfAborted();
      const onVisible = () => {
        unlock();
        unlock = () => {};
        options.onVisible?.();
      };
      const { grace } = options;
      await publishSummary(repo, summary, signatures, {
        ...(grace !== undefined && { grace }),
        ...(signal && { signal }),
        onVisible,
      });
      await known.save(summary);
    } finally {
      unlock();
    }
  } finally {
    turn();
  }
}

/** Updates the summary if the repository is configured to do so whenever refs change (`core.auto-update-summary`). */
export async function autoUpdateSummary(repo: Repo): Promise<void> {
  if (repoSettings(repo.config).autoUpdateSummary) await updateSummary(repo, { metadataCommit: false });
}

type Entry = readonly [name: string, entry: Buffer];

/** The repository's own refs, and those of other collections. */
async function listEntries(
  repo: Repo,
  known: KnownSummary,
  collection: string | null,
): Promise<{ refs: Entry[]; others: Map<string, Entry[]> }> {
  const fresh = new Map<Checksum, Buffer>();
  const entryOf = async (commit: Checksum): Promise<Buffer> => {
    const before = known.entries.get(commit);
    if (before && hasObject(repo, 'commit', commit)) return before;
    const entry = fresh.get(commit) ?? (await readEntry(repo, commit));
    fresh.set(commit, entry);
    return entry;
  };
  const refs: Entry[] = [];
  const others = new Map<string, Entry[]>();
  if (collection === null) {
    for (const [name, commit] of await listRefs(repo, undefined, { localOnly: true })) {
      refs.push([name, await entryOf(commit)]);
    }
  }
  for (const { collection: id, ref, commit } of await listCollectionRefs(repo)) {
    const entry = [ref, await entryOf(commit)] as const;
    if (id === collection) refs.push(entry);
    else others.set(id, [...(others.get(id) ?? []), entry]);
  }
  return { refs, others };
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

interface OwnKeys {
  metadata: Metadata;
  collection: string | null;
  others: ReadonlyMap<string, Entry[]>;
  deltas: readonly ListedDelta[];
  now: number;
}

/** The caller's metadata, and what libostree's clients look for (`regenerate_metadata`). */
function withOwnKeys(repo: Repo, { metadata, collection, others, deltas, now }: OwnKeys): Metadata {
  const core = repo.config.get('core');
  const own: [string, Variant][] = [
    ['ostree.summary.mode', { type: 's', value: core?.get('mode') ?? 'bare' }],
    ['ostree.summary.last-modified', { type: 't', value: swap(BigInt(Math.floor(now / 1000))) }],
    ['ostree.summary.tombstone-commits', { type: 'b', value: repoSettings(repo.config).tombstoneCommits }],
    ['ostree.summary.indexed-deltas', { type: 'b', value: true }],
  ];
  if (collection !== null) own.push(['ostree.summary.collection-id', { type: 's', value: collection }]);
  if (others.size > 0) {
    const value = [...others]
      .sort(([a], [b]) => compareNames(a, b))
      .map(([id, entries]): Value => [id, entries.map(([name, entry]): Value => [name, decodeSummaryEntry(entry)])]);
    own.push(['ostree.summary.collection-map', { type: 'a{sa(s(taya{sv}))}', value }]);
  }
  if (deltas.length > 0 && core?.get('no-deltas-in-summary') !== 'true') {
    own.push([STATIC_DELTAS, encodeDeltaList(deltas)]);
  }
  return [...new Map([...metadata, ...own])]; // the last of a key counts
}
