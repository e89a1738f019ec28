import { setTimeout as sleep } from 'node:timers/promises';
import { updateDeltaIndexes } from '../delta/index-file.ts';
import { OstreeError } from '../errors.ts';
import type { Checksum } from '../formats/object-name.ts';
import { commitChecks } from '../pull/commit-checks.ts';
import type { HttpOptions } from '../pull/http.ts';
import { isComplete } from '../pull/known-trees.ts';
import type { HttpPlaces } from '../pull/open-source.ts';
import { ProgressMeter, type PullProgress } from '../pull/progress.ts';
import { openRemote, type Remote } from '../pull/remote.ts';
import { transfer } from '../pull/transfer.ts';
import type { WantedRef } from '../pull/wanted-refs.ts';
import { listCollectionRefs, ownCollection, setCollectionRef } from '../repo/collection-refs.ts';
import { SUMMARY_LOCK, takeTurn } from '../repo/lock.ts';
import { listRefs } from '../repo/refs.ts';
import { createRepo, openRepo, type Repo } from '../repo/repo.ts';
import { withTransaction } from '../repo/transaction.ts';
import type { Verification } from '../sign/remote-verification.ts';
import { publishSummary } from '../summary/publish.ts';
import { updateSummary } from '../summary/update.ts';
import { fetchDeltas, type RemoteDeltas, remoteDeltas } from './deltas.ts';
import { deleteDropped, retireDropped } from './dropped.ts';
import { verificationsOf } from './keys.ts';
import { hasSummary, inCollection, isPublished } from './place.ts';
import { isSameUpstream, type Upstream, UpstreamFiles, wantedOf } from './upstream.ts';

/** What is mirrored, and how. */
export interface MirrorOptions extends HttpOptions, HttpPlaces {
  /** `http://…`, `https://…`, or a path. */
  url: string;
  /** Refs, in which `*` stands for anything in a part and `**` for any number of parts. Default: all, summary included. */
  refs?: readonly string[];
  /** How many parents of each commit. Default 0, -1 for all that the remote has. */
  depth?: number;
  /** Static deltas to what refs name, too. Default false. */
  deltas?: boolean;
  /** Keys of which one has to have signed each commit and the summary: files of OpenPGP keys, ed25519 keys in base64. */
  keys?: { gpg?: readonly string[]; ed25519?: readonly string[] };
  /** Take an unsigned summary although there are keys. */
  unsignedSummary?: boolean;
  /** Refuse commits that are bound to another ref. Default false: whoever pulls from the mirror looks for himself. */
  verifyBindings?: boolean;
  /** Delete what the remote does not have any more: refs at once, and what nothing names after so many seconds. */
  deleteAfter?: number;
  /** Seconds for which a new summary's signatures are there before it, and the old ones after: see publishSummary. */
  grace?: number;
  /** Ask for new signatures of all commits, and not only of those that are new. Default true. */
  thorough?: boolean;
  /** What is remembered of the remote from one round to the next; for who makes several. */
  memory?: MirrorMemory;
  /** Told now and then how far it is. */
  onProgress?: (progress: PullProgress) => void;
}

/** What a process remembers of a remote: see MirrorOptions. Opaque. */
export interface MirrorMemory {
  /** @internal */
  fetch: UpstreamFiles['fetch'];
  /** @internal */
  isStill: UpstreamFiles['isStill'];
}

/** Makes an empty memory. */
export function mirrorMemory(): MirrorMemory {
  return new UpstreamFiles();
}

/** What has changed in a mirror. */
export interface MirrorReport {
  /** Refs that were set, moved or deleted, with what they named before and name now. */
  refs: { name: string; from: Checksum | null; to: Checksum | null }[];
  /** Objects that were fetched, and bytes received. */
  objects: number;
  bytes: number;
  deltas: number;
  /** There is a new summary: the remote's own, or one of what is here. */
  summary: 'theirs' | 'own' | null;
  /** Objects and deltas that were deleted. */
  deleted: number;
}

/** How often a round is begun again because the remote has changed in it. */
const ROUNDS = 5;
const SETTLE_MS = 1000;

/**
 * Brings a mirror up to date with a remote: objects, then commits, deltas, refs, delta indexes, and the summary last, so
 * that clients may pull from the mirror meanwhile. The refs are those of one summary. When all refs are mirrored, its
 * file and its signatures are taken over byte by byte; with a part of them the mirror has a summary of its own. What
 * signatures do not fit is not let in, where there are keys. Interrupted, the next round goes on where it was.
 *
 * @param folder an archive repository, which is made if there is none
 * @throws OstreeError `network`, `not-found`, `signature`, `corrupt`, `unsupported`, `no-space`, `io`; the mirror is then
 *   what it was, or in part newer, and whole
 */
export async function mirrorRemote(folder: string, options: MirrorOptions): Promise<MirrorReport> {
  const { signal } = options;
  signal?.throwIfAborted();
  const turn = await takeTurn(await createRepo(folder, { mode: 'archive' }), 'treeline-mirror.lock', signal);
  const meter = new ProgressMeter(options.onProgress);
  const files = options.memory ?? mirrorMemory();
  try {
    const verifications = await verificationsOf(options);
    let failed: FailedRound | null = null;
    for (let left = ROUNDS; ; left--) {
      const remote = await openRemote(options.url, options);
      try {
        const report = await round(await openRepo(folder), remote, { options, meter, files, failed, ...verifications });
        if (report) return report;
        if (left === 0) throw new OstreeError('network', `${remote.where}: changes faster than it can be mirrored`);
      } catch (error) {
        if (!(error instanceof FailedRound)) throw error;
        // It may have dropped what its summary named a moment ago.
        const { cause } = error;
        if (left === 0 || error === failed || !(cause instanceof OstreeError) || cause.code !== 'not-found')
          throw cause;
        failed = error;
      } finally {
        remote.close();
      }
    }
  } finally {
    turn();
  }
}

/** A round that failed, and the summary that it was about: with another one the next may do better. */
class FailedRound extends OstreeError {
  readonly upstream: Upstream;

  constructor(upstream: Upstream, cause: unknown) {
    super('network', 'a round failed', { cause });
    this.upstream = upstream;
  }
}

interface Round {
  options: MirrorOptions;
  meter: ProgressMeter;
  files: MirrorMemory;
  failed: FailedRound | null;
  commits: Verification | null;
  summary: Verification | null;
}

/** One attempt. Null when the remote has changed meanwhile, so that nothing can be said of its summary. */
async function round(mirror: Repo, remote: Remote, o: Round): Promise<MirrorReport | null> {
  const { options, meter } = o;
  const { refs: patterns = [], signal } = options;
  const began = Date.now();
  const upstream = await o.files.fetch(remote, o.summary, signal);
  if (o.failed && isSameUpstream(o.failed.upstream, upstream)) throw o.failed;
  try {
    const repo = await inCollection(mirror, upstream.summary?.collection ?? remote.collection);
    const wanted = await wantedOf(remote, upstream, { patterns, signed: o.summary !== null });
    const before = await refsHere(repo);
    const objects = await bringCommits(repo, remote, { ...o, wanted, before, upstream });
    const deltas = options.deltas ? await bringDeltas(repo, remote, { ...o, wanted, upstream }) : null;
    const whole = patterns.length === 0 && upstream.files !== null;
    if (whole && !(await isSettled(repo, remote, upstream, { ...o, began }))) return null;
    const moved = await moveRefs(repo, { wanted, before, remove: options.deleteAfter !== undefined });
    if (deltas) await updateDeltaIndexes(repo, signal ? { signal } : {});
    const changed = moved.length > 0 || (deltas?.fetched ?? 0) > 0;
    const summary = await bringSummary(repo, upstream, { whole, changed, options });
    const deleted =
      options.deleteAfter === undefined
        ? 0
        : await deleteDropped(repo, new Set(wanted.map(({ commit }) => commit)), {
            deltas: deltas?.names ?? null,
            depth: options.depth ?? 0,
            keepFor: options.deleteAfter,
            signal,
          });
    meter.tell(true);
    return { refs: moved, objects, bytes: meter.bytes, deltas: deltas?.fetched ?? 0, summary, deleted };
  } catch (error) {
    throw new FailedRound(upstream, error);
  }
}

/**
 * Whether a summary and its signatures are of one release. Where nothing is verified, only time can tell: a remote whose
 * signatures come after the summary, as libostree makes them, has both in place soon.
 */
async function isSettled(
  repo: Repo,
  remote: Remote,
  upstream: Upstream,
  o: Round & { began: number },
): Promise<boolean> {
  if (o.summary || !upstream.files?.signature || isPublished(repo, upstream.files)) return true;
  const wait = o.began + SETTLE_MS - Date.now();
  if (wait > 0) await sleep(wait, undefined, { signal: o.options.signal });
  return o.files.isStill(remote, upstream);
}

interface Wanted {
  wanted: readonly WantedRef[];
  upstream: Upstream;
}

async function bringCommits(
  repo: Repo,
  remote: Remote,
  o: Round & Wanted & { before: ReadonlyMap<string, Checksum> },
): Promise<number> {
  const { options, meter, wanted, before, upstream } = o;
  const isNew = (ref: WantedRef) => before.get(keyOf(repo, ref)) !== ref.commit || !isComplete(repo, ref.commit);
  const asked = options.thorough === false && (options.depth ?? 0) === 0 ? wanted.filter(isNew) : wanted;
  if (asked.length === 0) return 0;
  const stats = await transfer(repo, remote, {
    heads: new Map(asked.map(({ commit, size }) => [commit, size])),
    refs: [], // set when deltas are there, too
    related: new Map(asked.map(({ name, commit }) => [commit, { name, here: [name] }])),
    depth: options.depth ?? 0,
    commitMetadataOnly: false,
    subpaths: undefined,
    bareUserOnlyFiles: false,
    trusted: false,
    deltas: 'never',
    summary: upstream.summary,
    caches: [],
    verification: o.commits,
    check: await commitChecks(repo, remote, asked, { verifyBindings: options.verifyBindings === true }),
    dryRun: false,
    meter,
    signal: options.signal,
  });
  return stats.metadataFetched + stats.contentFetched;
}

async function bringDeltas(
  repo: Repo,
  remote: Remote,
  { options, meter, wanted, upstream }: Round & Wanted,
): Promise<{ fetched: number; names: Set<string> }> {
  const commits = new Set(wanted.map(({ commit }) => commit));
  const listed: RemoteDeltas = await remoteDeltas(remote, commits, { summary: upstream.summary, meter });
  const fetched = await fetchDeltas(repo, remote, listed, { meter, signal: options.signal });
  const names = new Set(listed.keys());
  if (options.deleteAfter !== undefined) await retireDropped(repo, names);
  return { fetched, names };
}

async function moveRefs(
  repo: Repo,
  o: { wanted: readonly WantedRef[]; before: ReadonlyMap<string, Checksum>; remove: boolean },
): Promise<MirrorReport['refs']> {
  const { before } = o;
  const wanted = new Map(o.wanted.map((ref) => [keyOf(repo, ref), ref.commit]));
  const moved: MirrorReport['refs'] = [];
  // First: one of them may be in the way of a new one.
  for (const [name, from] of before) if (o.remove && !wanted.has(name)) moved.push({ name, from, to: null });
  for (const [name, to] of wanted) {
    const from = before.get(name) ?? null;
    if (from !== to) moved.push({ name, from, to });
  }
  await withTransaction(
    repo,
    async (tx) => {
      for (const { name, to } of moved) if (!name.includes(':')) tx.setRef(name, to);
    },
    { autoSummary: false },
  );
  for (const { name, to } of moved) {
    const [collection, ref] = name.split(':');
    if (ref !== undefined) await setCollectionRef(repo, { collection: collection!, ref }, to);
  }
  return moved;
}

/** A ref of the mirror, or `COLLECTION:REF` for one of another collection than its own. */
function keyOf(repo: Repo, { name, collection }: WantedRef): string {
  return collection === null || collection === ownCollection(repo) ? name : `${collection}:${name}`;
}

async function refsHere(repo: Repo): Promise<Map<string, Checksum>> {
  const found = await listRefs(repo, undefined, { localOnly: true });
  for (const { collection, ref, commit } of await listCollectionRefs(repo, { excludeRemotes: true })) {
    if (collection !== ownCollection(repo)) found.set(`${collection}:${ref}`, commit);
  }
  return found;
}

async function bringSummary(
  repo: Repo,
  { files }: Upstream,
  o: { whole: boolean; changed: boolean; options: MirrorOptions },
): Promise<MirrorReport['summary']> {
  const { grace = 0, signal } = o.options;
  const publishing = { grace, ...(signal && { signal }) };
  if (!o.whole) {
    if (!o.changed && hasSummary(repo)) return null;
    await updateSummary(repo, { ...publishing, metadataCommit: false });
    return 'own';
  }
  if (isPublished(repo, files!)) return null;
  const turn = await takeTurn(repo, SUMMARY_LOCK, signal);
  await publishSummary(repo, files!.summary, files!.signature, publishing).finally(turn);
  return 'theirs';
}
