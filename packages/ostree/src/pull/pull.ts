import { rm } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { OstreeError } from '../errors.ts';
import { type Commit, decodeCommit, type Metadata } from '../formats/commit.ts';
import { assertChecksum, type Checksum, loosePath } from '../formats/object-name.ts';
import { writeFileDurably } from '../fs/durable.ts';
import { decode } from '../gvariant/decode.ts';
import { assertHash, hasObject, MAX_METADATA_BYTES, readCommit } from '../repo/objects.ts';
import { listRefs, readRef, refPath } from '../repo/refs.ts';
import { openRepo, type Repo } from '../repo/repo.ts';
import { type Transaction, withTransaction } from '../repo/transaction.ts';
import { assertBinding } from './bindings.ts';
import { copyClosure } from './copy.ts';
import { missing, ObjectFetcher } from './fetch-objects.ts';
import { HttpSource, type TlsOptions } from './http.ts';
import { completeRoots, isComplete, partialMark } from './known-trees.ts';
import { tidyPartials } from './partial.ts';
import { ProgressMeter, type PullProgress } from './progress.ts';
import { assertArchive, resolveRemoteRefs } from './remote.ts';

export interface PullOptions {
  /** `http://…`, `https://…`, `file:///…` or a path. */
  url: string;
  /** Branches to pull, as the remote calls them. Without refs and commits: all that its summary lists. */
  refs?: readonly string[];
  /** Commits to pull by checksum; no ref is set for them. */
  commits?: readonly Checksum[];
  /** Set the refs as `remote:name` instead of `name`. */
  remote?: string;
  /** How many parents to pull, too: 0 (the default) none, -1 all that the remote has. */
  depth?: number;
  /** Commit objects and their detached metadata alone; they are marked as partial, as libostree does. */
  commitMetadataOnly?: boolean;
  /**
   * Refuse a ref of `refs` whose commit says that it is bound to others (`ostree.ref-binding`). Default true. As in
   * libostree, refs that come along because all are pulled are not checked.
   */
  verifyBindings?: boolean;
  /** From a local path: see CopyClosureOptions. */
  trusted?: boolean;
  tls?: TlsOptions;
  /** Sent with every request to the remote itself, not where it redirects to. */
  headers?: Record<string, string>;
  /** See HttpOptions. Default 30. */
  stallSeconds?: number;
  /** See HttpOptions. Default 5. */
  retries?: number;
  signal?: AbortSignal;
  onProgress?: (progress: PullProgress) => void;
}

export interface PullStats {
  /** What was asked for: the commit of each ref by its name at the remote, and each commit by its checksum. */
  commits: Map<string, Checksum>;
  /** Objects that were not there before. */
  metadataFetched: number;
  contentFetched: number;
  /** Bytes received; for a local copy, bytes copied or linked. */
  bytesTransferred: number;
  /** Bytes of the received files' content. */
  bytesUnpacked: number;
}

/**
 * Brings refs and commits of another repository here, with all that they need and this one lacks. Objects are
 * checked against their names before they are stored; commits are stored after everything else, and refs are set
 * last. What was fetched before an interruption is kept, and the next pull goes on from there.
 *
 * From a local path, see copyClosure.
 *
 * @throws OstreeError `not-found`, `network`, `corrupt` (the object is named in `object`, the place in `offset`),
 *   `unsupported` for content that this repository's mode cannot keep, `invalid` for a ref's commit that is bound to
 *   other refs, `io`
 */
export async function pull(repo: Repo, options: PullOptions): Promise<PullStats> {
  options.signal?.throwIfAborted();
  const { refs, commits = [], remote, signal } = options;
  for (const name of refs ?? []) refPath(repo, remote === undefined ? name : `${remote}:${name}`);
  for (const commit of commits) assertChecksum(commit, 'commit');
  if (!/^https?:/i.test(options.url)) return pullLocal(repo, options);
  const meter = new ProgressMeter(options.onProgress);
  const source = new HttpSource(options.url, options);
  try {
    const hasConfig = await assertArchive(source);
    const wanted =
      refs || commits.length === 0 ? await resolveRemoteRefs(source, refs, hasConfig) : new Map<string, Checksum>();
    const partials = await tidyPartials(repo);
    const stats: PullStats = {
      commits: new Map([...wanted, ...commits.map((commit) => [commit, commit] as const)]),
      metadataFetched: 0,
      contentFetched: 0,
      bytesTransferred: 0,
      bytesUnpacked: 0,
    };
    const whole: Checksum[] = [];
    await withTransaction(
      repo,
      async (tx) => {
        const history = await fetchCommits(tx, source, meter, new Set(stats.commits.values()), options);
        if (options.refs && options.verifyBindings !== false) {
          const byName = new Map(history.map(({ checksum, commit }) => [checksum, commit]));
          for (const [name, commit] of wanted) assertBinding(name, commit, byName.get(commit)!, source.base);
        }
        stats.metadataFetched += history.filter(({ data }) => data).length;
        if (!options.commitMetadataOnly) {
          const fetcher = new ObjectFetcher(tx, source, meter, { partials });
          try {
            for (const { checksum, commit } of history) {
              if (isComplete(repo, checksum)) continue;
              const names = [...wanted].filter(([, one]) => one === checksum).map(([name]) => name);
              fetcher.add(commit.tree, completeRoots(repo, await predecessors(repo, commit, names, remote)));
              whole.push(checksum);
            }
            await fetcher.run();
          } catch (error) {
            // What has come is good, each object by itself; after a broken connection it need not come again.
            if (!(error instanceof OstreeError) || error.code === 'network') await tx.flush();
            throw error;
          } finally {
            stats.metadataFetched += fetcher.metadataFetched;
            stats.contentFetched += fetcher.contentFetched;
            stats.bytesUnpacked += fetcher.bytesUnpacked;
          }
        }
        await tx.flush();
        for (const { checksum, data, detached } of history) {
          if (!data) continue;
          if (options.commitMetadataOnly) await writeFileDurably(partialMark(repo, checksum), '');
          if (detached) tx.writeDetachedMetadata(checksum, detached);
          tx.importMetadata('commit', checksum, data);
        }
        for (const [name, commit] of wanted) tx.setRef(remote === undefined ? name : `${remote}:${name}`, commit);
      },
      signal ? { signal } : {},
    );
    for (const commit of whole) await rm(partialMark(repo, commit), { force: true });
    stats.bytesTransferred = meter.bytes;
    meter.tell(true);
    return stats;
  } finally {
    source.close();
  }
}

async function pullLocal(repo: Repo, options: PullOptions): Promise<PullStats> {
  const { url, refs, commits = [], remote, depth, trusted, signal, onProgress } = options;
  if (/^[a-z][a-z0-9+.-]*:\/\//i.test(url) && !url.startsWith('file://')) {
    throw new OstreeError('unsupported', `${url}: can only pull from http, https and local paths`);
  }
  if (options.commitMetadataOnly) {
    throw new OstreeError('unsupported', `${url}: only whole commits are copied from a local repository`);
  }
  const src = await openRepo(url.startsWith('file://') ? fileURLToPath(url) : url);
  const wanted = new Map<string, Checksum>();
  const all = refs || commits.length > 0 ? new Map<string, Checksum>() : await listRefs(src);
  for (const name of refs ?? [...all.keys()].filter((one) => !one.includes(':'))) {
    const commit = await readRef(src, name);
    if (!commit) throw new OstreeError('not-found', `${src.path}: has no ref ${name}`);
    wanted.set(name, commit);
  }
  if (refs && options.verifyBindings !== false) {
    for (const [name, commit] of wanted) {
      // What the other repository has itself from a remote is bound to that remote's name for it.
      assertBinding(name.slice(name.indexOf(':') + 1), commit, await readCommit(src, commit), src.path);
    }
  }
  const stats = await copyClosure(src, repo, [...new Set([...wanted.values(), ...commits])], {
    refs: new Map([...wanted].map(([name, commit]) => [remote === undefined ? name : `${remote}:${name}`, commit])),
    ...(depth === undefined ? {} : { depth }),
    ...(trusted === undefined ? {} : { trusted }),
    ...(signal ? { signal } : {}),
    ...(onProgress ? { onProgress } : {}),
  });
  return { ...stats, commits: new Map([...wanted, ...commits.map((commit) => [commit, commit] as const)]) };
}

interface PulledCommit {
  checksum: Checksum;
  commit: Commit;
  /** The bytes, when it was not here already. */
  data: Buffer | null;
  detached: Metadata | null;
}

/** Fetches commits, and parents as deep as asked. Nothing is staged: a commit is stored after what it needs. */
async function fetchCommits(
  tx: Transaction,
  source: HttpSource,
  meter: ProgressMeter,
  wanted: Set<Checksum>,
  { depth = 0 }: PullOptions,
): Promise<PulledCommit[]> {
  const found = new Map<Checksum, PulledCommit>();
  for (const head of wanted) {
    let next: Checksum | null = head;
    for (let left = depth < 0 ? Number.POSITIVE_INFINITY : depth; next && left >= 0; left--) {
      const known = found.get(next);
      const one: PulledCommit | null = known ?? (await fetchCommit(tx, source, meter, next));
      // History ends where the remote's does.
      if (!one && next !== head) break;
      if (!one) throw missing(source, next, 'commit');
      found.set(next, one);
      next = one.commit.parent;
    }
  }
  return [...found.values()];
}

async function fetchCommit(
  tx: Transaction,
  source: HttpSource,
  meter: ProgressMeter,
  checksum: Checksum,
): Promise<PulledCommit | null> {
  if (hasObject(tx.repo, 'commit', checksum)) {
    return { checksum, commit: await readCommit(tx.repo, checksum), data: null, detached: null };
  }
  const [data, signatures] = await Promise.all([
    source.bytes(`objects/${loosePath(checksum, 'commit')}`, MAX_METADATA_BYTES),
    source.bytes(`objects/${loosePath(checksum, 'commitmeta')}`, MAX_METADATA_BYTES),
  ]);
  if (!data) return null;
  assertHash(data, checksum, 'commit');
  const commit = decodeCommit(data, `${checksum}.commit`);
  const object = `${checksum}.commitmeta`;
  const detached = signatures && (decode('a{sv}', signatures, { object }) as unknown as Metadata);
  meter.bytes += data.length + (signatures?.length ?? 0);
  meter.objects++;
  meter.objectsKnown++;
  meter.tell();
  return { checksum, commit, data, detached };
}

/** Commits of this repository that are likely to share most of their tree with a new one. */
async function predecessors(
  repo: Repo,
  commit: Commit,
  names: readonly string[],
  remote: string | undefined,
): Promise<Set<Checksum>> {
  const found = new Set<Checksum>();
  if (commit.parent) found.add(commit.parent);
  for (const name of names) {
    for (const local of remote === undefined ? [name] : [`${remote}:${name}`, name]) {
      const present = await readRef(repo, local);
      if (present) found.add(present);
    }
  }
  return found;
}
