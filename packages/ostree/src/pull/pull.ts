import { join } from 'node:path';
import { OstreeError } from '../errors.ts';
import { assertChecksum, type Checksum } from '../formats/object-name.ts';
import { SUMMARY_LOCK, takeTurn } from '../repo/lock.ts';
import { readRemotes } from '../repo/remotes.ts';
import { openRepo, type Repo } from '../repo/repo.ts';
import { remoteVerification, type Verification, type VerificationOverrides } from '../sign/remote-verification.ts';
import { publishSummary } from '../summary/publish.ts';
import { commitChecks } from './commit-checks.ts';
import type { HttpOptions } from './http.ts';
import type { HttpPlaces } from './open-source.ts';
import type { PullPrediction } from './prediction.ts';
import { ProgressMeter, type PullProgress } from './progress.ts';
import { openRemote, type Remote } from './remote.ts';
import { RemoteSummary } from './remote-summary.ts';
import { Subpaths } from './subpaths.ts';
import { fetchSummary, type SummaryFiles } from './summary-file.ts';
import { transfer } from './transfer.ts';
import type { DeltaUse, RefToSet } from './transfer-plan.ts';
import { type AskedRef, allRefs, askedRef, assertRefNames, resolveRefs, type WantedRef } from './wanted-refs.ts';

/** What is pulled from where, and what it must be like. */
export interface PullOptions extends HttpOptions, HttpPlaces {
  /** `http://…`, `https://…`, `mirrorlist=http://…`, `file:///…` or a path. See remoteOptions for what is configured. */
  url: string;
  /**
   * Branches to pull, as the remote calls them; `NAME@COMMIT` to set one to this commit, whatever it is at the remote.
   * Without refs and commits: all that the remote lists.
   */
  refs?: readonly string[];
  /** Refs of collections to pull; their commits are what the remote says, unless they are given. */
  collectionRefs?: readonly { collection: string; ref: string; commit?: Checksum }[];
  /** Commits to pull by checksum; no ref is set for them. */
  commits?: readonly Checksum[];
  /**
   * Set the refs as `remote:name` instead of `name`. If the repository has a remote of this name configured, what it
   * says of signatures holds (see `verify`).
   */
  remote?: string;
  /**
   * Set the refs as the remote itself has them, those of collections below `refs/mirrors`. When all are pulled, its
   * summary is taken over, too.
   */
  mirror?: boolean;
  /** The collection that the remote's refs belong to (`collection-id`): commits must be bound to it. */
  collectionId?: string | null;
  /** How many parents to pull, too: 0 (the default) none, -1 all that the remote has. */
  depth?: number;
  /** Only these parts of the trees, as absolute paths in them. The commits are then marked as partial. */
  subpaths?: readonly string[];
  /** Commit objects and their detached metadata alone; they are marked as partial, as libostree does. */
  commitMetadataOnly?: boolean;
  /** Refuse commits that are bound to another ref, or to another collection (see assertBinding). Default true. */
  verifyBindings?: boolean;
  /** Instead of what the remote's configuration says of signatures. */
  verify?: { commits?: VerificationOverrides; summary?: VerificationOverrides };
  /**
   * Take what comes without hashing it: from a local path, see CopyClosureOptions; over HTTP into an archive repository,
   * small files. Default false.
   */
  trusted?: boolean;
  /** Refuse regular files whose permissions go beyond 0775: setuid, world-writable. */
  bareUserOnlyFiles?: boolean;
  /**
   * Static deltas: `auto` (the default) uses one where it is smaller than what it stands for, but not from a local path
   * and not into an archive repository, which keeps what the remote compressed; `required` refuses to do without.
   */
  deltas?: DeltaUse;
  /** Refuse commits that are older than what their ref names here now. */
  timestampCheck?: boolean;
  /** Refuse commits that are older than this one. */
  timestampCheckFrom?: string;
  /** Repositories on this machine in which objects are looked for before they are fetched. */
  localCaches?: readonly (Repo | string)[];
  /** Folder in which signed summaries are cached. Default `tmp/cache` of the repository; null for none. */
  cacheFolder?: string | null;
  /** Refuse a cached summary that does not fit its signature, instead of fetching it again. */
  strictCache?: boolean;
  /** Only find out what would be fetched: see `prediction`. */
  dryRun?: boolean;
  /** Told some ten times a second how far it is. */
  onProgress?: (progress: PullProgress) => void;
}

/** What a pull did. */
export interface PullStats {
  /** What was asked for: the commit of each ref by its name at the remote, and each commit by its checksum. */
  commits: Map<string, Checksum>;
  /** Objects that were not there before. */
  metadataFetched: number;
  contentFetched: number;
  /** Objects that were taken from local caches. */
  metadataFromCaches: number;
  contentFromCaches: number;
  /** Commits of which the remote has no detached metadata. */
  detachedMissing: number;
  /** Parts of static deltas that were used. */
  deltaParts: number;
  /** Bytes received; for a local copy, bytes copied or linked. */
  bytesTransferred: number;
  /** Bytes of the received files' content. */
  bytesUnpacked: number;
  /** Bytes of content that were written: not those that were hard-linked. */
  contentWritten: number;
  /** It was a copy on this machine. */
  local: boolean;
  /** What would be fetched; of a dry run alone. */
  prediction?: PullPrediction;
}

/**
 * Brings refs and commits of another repository here, with all that they need and this one lacks. Objects are
 * checked against their names before they are stored, signatures before anything else of a commit is fetched; commits
 * are stored after everything else, and refs are set last. What was fetched before an interruption is kept, and the
 * next pull goes on from there.
 *
 * From a local path, see copyClosure.
 *
 * @throws OstreeError `not-found`, `network`, `corrupt` (the object is named in `object`, the place in `offset`),
 *   `signature`, `unsupported` for content that this repository's mode cannot keep, `invalid` for a commit that is
 *   bound to other refs or older than it may be, `no-space`, `io`
 */
export async function pull(repo: Repo, options: PullOptions): Promise<PullStats> {
  const { remote: name, commits = [], signal } = options;
  signal?.throwIfAborted();
  const asked = askedRefs(options);
  if (asked) assertRefNames(repo, asked, options.mirror ? undefined : name);
  for (const commit of commits) assertChecksum(commit, 'commit');
  const use = deltaUse(repo, options);
  if (options.timestampCheck && (options.depth ?? 0) !== 0) {
    throw new OstreeError('invalid', 'timestamps cannot be checked while parents are pulled, which are older');
  }
  const subpaths = options.subpaths?.length ? new Subpaths(options.subpaths) : undefined;
  const verification = await verificationFor(repo, options, 'commit');
  const summaryVerification = await verificationFor(repo, options, 'summary');
  const caches = await Promise.all(
    (options.localCaches ?? []).map((one) => (typeof one === 'string' ? openRepo(one) : Promise.resolve(one))),
  );
  const meter = new ProgressMeter(options.onProgress);
  const remote = await openRemote(options.url, options);
  try {
    const deltas = remote.repo && use === 'auto' ? 'never' : use;
    const files = await summaryFor(repo, remote, { options, asked, deltas, verification: summaryVerification });
    const summary = files && new RemoteSummary(files.summary, `${remote.where}summary`);
    const everything = asked === null && commits.length === 0;
    const wanted = everything
      ? await allRefs(remote, summary)
      : await resolveRefs(remote, asked ?? [], summary, summaryVerification !== null);
    const done = await transfer(repo, remote, {
      heads: new Map<Checksum, number | null>([
        ...commits.map((commit) => [commit, null] as const),
        ...wanted.map(({ commit, size }) => [commit, size] as const),
      ]),
      refs: wanted.map((ref) => refToSet(ref, options)),
      related: related(wanted, name),
      depth: options.depth ?? 0,
      commitMetadataOnly: options.commitMetadataOnly === true,
      subpaths,
      bareUserOnlyFiles: options.bareUserOnlyFiles === true,
      trusted: mayTrust(repo, remote, options),
      deltas: use === 'auto' && subpaths ? 'never' : deltas,
      summary,
      caches,
      verification,
      check: await commitChecks(repo, remote, wanted, options),
      dryRun: options.dryRun === true,
      meter,
      signal,
    });
    if (everything && options.mirror && files && !options.dryRun) {
      const turn = await takeTurn(repo, SUMMARY_LOCK, signal);
      await publishSummary(repo, files.summary, files.signature).finally(turn);
    }
    meter.tell(true);
    const { prediction, ...counts } = done;
    return {
      commits: new Map([
        ...wanted.map(({ name: ref, commit }) => [ref, commit] as const),
        ...commits.map((commit) => [commit, commit] as const),
      ]),
      ...counts,
      bytesTransferred: meter.bytes,
      local: remote.repo !== null,
      ...(prediction ? { prediction } : {}),
    };
  } finally {
    remote.close();
  }
}

/** The refs that are asked for by name; null when nothing is, so that everything is meant. */
function askedRefs({ refs, collectionRefs, commits = [] }: PullOptions): AskedRef[] | null {
  if (!refs && !collectionRefs) return commits.length > 0 ? [] : null;
  const named = (refs ?? []).map(askedRef);
  const ofCollections = (collectionRefs ?? []).map(({ collection, ref, commit }): AskedRef => {
    return { name: ref, collection, commit: commit === undefined ? null : assertChecksum(commit, 'commit') };
  });
  return [...named, ...ofCollections];
}

function deltaUse(repo: Repo, { deltas = 'auto', commitMetadataOnly }: PullOptions): DeltaUse {
  if (deltas === 'required' && repo.mode === 'archive') {
    throw new OstreeError('unsupported', "Can't use static deltas in an archive repo", {
      hint: 'An archive repository keeps files as they are served. Pull without --require-static-deltas.',
    });
  }
  return repo.mode === 'archive' || commitMetadataOnly ? 'never' : deltas;
}

/** What must be verified; a name under which no remote is configured is just a name. */
async function verificationFor(
  repo: Repo,
  { remote, verify }: PullOptions,
  what: 'commit' | 'summary',
): Promise<Verification | null> {
  const overrides = (what === 'commit' ? verify?.commits : verify?.summary) ?? {};
  const demanded = overrides.gpg === true;
  if (!demanded && (remote === undefined || !(await readRemotes(repo)).has(remote))) return null;
  return remoteVerification(repo, remote, what, overrides);
}

/**
 * The summary, if anything is to be learned from it: which refs there are, or what they name, or static deltas where
 * there are no indexes of these.
 */
async function summaryFor(
  repo: Repo,
  remote: Remote,
  o: { options: PullOptions; asked: AskedRef[] | null; deltas: DeltaUse; verification: Verification | null },
): Promise<SummaryFiles | null> {
  const { options, asked, deltas, verification } = o;
  const forRefs = asked === null || asked.some(({ commit }) => commit === null);
  // A local repository says by itself what its refs are now; unless it must be signed, or is mirrored as it is.
  const needed = forRefs && (!remote.repo || verification !== null || (asked === null && options.mirror === true));
  const forDeltas = deltas !== 'never' && !remote.indexedDeltas && !remote.repo;
  if (!needed && !forDeltas) return null;
  try {
    return await fetchSummary(remote, {
      remote: options.remote,
      verification,
      cache: options.cacheFolder === undefined ? join(repo.path, 'tmp/cache') : options.cacheFolder,
      strictCache: options.strictCache,
    });
  } catch (error) {
    // Without it the pull may be larger, but is as good.
    if (!needed && error instanceof OstreeError && error.code !== 'network') return null;
    throw error;
  }
}

function refToSet({ name, collection, commit }: WantedRef, { remote, mirror }: PullOptions): RefToSet {
  if (mirror && collection !== null) return { target: { collection, ref: name }, commit };
  return { target: mirror || remote === undefined ? name : `${remote}:${name}`, commit };
}

function related(
  wanted: readonly WantedRef[],
  remote: string | undefined,
): Map<Checksum, { name: string; here: string[] }> {
  const found = new Map<Checksum, { name: string; here: string[] }>();
  for (const { name, commit } of wanted) {
    const here = remote === undefined ? [name] : [`${remote}:${name}`, name];
    const known = found.get(commit);
    if (known) known.here.push(...here);
    else found.set(commit, { name, here });
  }
  return found;
}

/** Over HTTP only what is kept as it came can be stored unhashed. */
function mayTrust(repo: Repo, remote: Remote, { trusted, mirror, bareUserOnlyFiles }: PullOptions): boolean {
  if (!trusted) return false;
  return remote.repo !== null || (mirror === true && repo.mode === 'archive' && !bareUserOnlyFiles);
}
