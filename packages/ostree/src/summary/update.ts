import { encodeDeltaList, STATIC_DELTAS } from '../delta/index-file.ts';
import { type Metadata, swap } from '../formats/commit.ts';
import { type Checksum, compareNames } from '../formats/object-name.ts';
import { decodeSummaryEntry, joinSummary } from '../formats/summary.ts';
import { encode, type Value, type Variant } from '../gvariant/encode.ts';
import { ownCollection } from '../repo/collection-refs.ts';
import { lockRepo, SUMMARY_LOCK, takeTurn } from '../repo/lock.ts';
import type { Repo } from '../repo/repo.ts';
import { repoSettings } from '../repo/settings.ts';
import { addSignatures, signCommit } from '../sign/sign.ts';
import type { Signer } from '../sign/signer.ts';
import { knownSummary } from './known.ts';
import { type Listing, listChanges, listEverything, type SummaryChanges } from './listing.ts';
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
  /**
   * What has changed since the summary before, for who alone changes the repository: nothing else is looked at, as long
   * as that summary is in place, and this process made it. Refs and deltas that are gone or
   * retired are to be named as well.
   */
  changed?: SummaryChanges;
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
      const known = knownSummary(repo);
      const listing =
        (options.changed && (await listChanges(repo, known, options.changed, signal))) ??
        (await listEverything(repo, known, signal));
      const summary = joinSummary(entries(listing.refs, listing.commits), withOwnKeys(repo, listing, metadata, now));
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
      await known.save(summary, listing);
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

/** The refs of a list with what is said of their commits. */
function entries(refs: ReadonlyMap<string, Checksum>, commits: Listing['commits']): [string, Buffer][] {
  return [...refs].map(([name, commit]) => [name, commits.get(commit)!]);
}

/** The caller's metadata, and what libostree's clients look for (`regenerate_metadata`). */
function withOwnKeys(repo: Repo, { others, deltas, commits }: Listing, metadata: Metadata, now: number): Metadata {
  const core = repo.config.get('core');
  const collection = ownCollection(repo);
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
      .map(([id, refs]): Value => {
        return [id, entries(refs, commits).map(([name, entry]): Value => [name, decodeSummaryEntry(entry)])];
      });
    own.push(['ostree.summary.collection-map', { type: 'a{sa(s(taya{sv}))}', value }]);
  }
  if (deltas.length > 0 && core?.get('no-deltas-in-summary') !== 'true') {
    own.push([STATIC_DELTAS, encodeDeltaList(deltas)]);
  }
  return [...new Map([...metadata, ...own])]; // the last of a key counts
}
