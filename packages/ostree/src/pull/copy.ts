import { rm } from 'node:fs/promises';
import { OstreeError } from '../errors.ts';
import type { Metadata } from '../formats/commit.ts';
import type { Checksum } from '../formats/object-name.ts';
import {
  hasObject,
  objectPath,
  readCommit,
  readDetachedMetadata,
  readFileObject,
  readMetadata,
} from '../repo/objects.ts';
import { listRefs, readRef } from '../repo/refs.ts';
import type { Repo } from '../repo/repo.ts';
import { type Transaction, withTransaction } from '../repo/transaction.ts';
import { pool } from '../work/pool.ts';
import type { ObjectToVerify } from '../work/verify-object.ts';
import { completeRoots, isComplete, partialMark } from './known-trees.ts';
import { ProgressMeter, type PullProgress } from './progress.ts';
import type { PullStats } from './pull.ts';
import { walkClosure } from './walk-closure.ts';

export interface CopyClosureOptions {
  /**
   * Link or copy objects without hashing them. Only for repositories that the same owner has written through this
   * library or libostree, which let nothing in unhashed. Without it every object is hashed on its way, as `ostree
   * pull-local --untrusted` does; note that libostree's own default is the other way round.
   */
  trusted?: boolean;
  /** Refs to set in the receiving repository, together with the commits. */
  refs?: ReadonlyMap<string, Checksum>;
  /** How many parents to copy, too: 0 (the default) none, -1 all that the source has. */
  depth?: number;
  signal?: AbortSignal;
  onProgress?: (progress: PullProgress) => void;
}

const BATCH_OBJECTS = 256;
/** Refs of the receiving repository whose trees are held against what is to be copied. */
const MAX_PREDECESSORS = 4;

/**
 * Copies commits with all that they need from one repository to another on the same machine. Between repositories
 * of the same mode on one file system objects are hard-linked, otherwise copied or converted. What the receiving
 * repository has is left alone; commits are stored last, and everything is on disk when this resolves.
 *
 * @throws OstreeError `not-found` when the source is incomplete, `corrupt`, `unsupported`
 */
export async function copyClosure(
  src: Repo,
  dst: Repo,
  commits: readonly Checksum[],
  options: CopyClosureOptions = {},
): Promise<PullStats> {
  const { signal } = options;
  signal?.throwIfAborted();
  const meter = new ProgressMeter(options.onProgress);
  const stats: PullStats = {
    commits: new Map(commits.map((commit) => [commit, commit])),
    metadataFetched: 0,
    contentFetched: 0,
    bytesTransferred: 0,
    bytesUnpacked: 0,
  };
  const wanted = await history(src, commits, options.depth ?? 0);
  const incomplete = wanted.filter((commit) => !isComplete(dst, commit));
  await withTransaction(
    dst,
    async (tx) => {
      const copier = new Copier(tx, src, options.trusted === true, meter, stats);
      const roots = [];
      for (const checksum of incomplete) {
        const commit = await readCommit(src, checksum);
        const names = [...(options.refs ?? [])].filter(([, one]) => one === checksum).map(([name]) => name);
        roots.push({ tree: commit.tree, known: completeRoots(dst, await predecessors(dst, commit.parent, names)) });
      }
      try {
        for await (const batch of walkClosure(src, roots, { knownIn: dst, signal })) {
          for (const { type, checksum } of batch) {
            if (!hasObject(dst, type, checksum)) await copier.add(type, checksum);
          }
          signal?.throwIfAborted();
        }
      } finally {
        await copier.finish();
      }
      await tx.flush();
      for (const checksum of wanted) {
        const detached = await readDetachedMetadata(src, checksum);
        if (detached && !(await sameDetached(src, dst, checksum))) tx.writeDetachedMetadata(checksum, detached);
        if (hasObject(dst, 'commit', checksum)) continue;
        tx.importMetadata('commit', checksum, await readMetadata(src, 'commit', checksum));
        stats.metadataFetched++;
      }
      for (const [name, commit] of options.refs ?? []) tx.setRef(name, commit);
    },
    signal ? { signal } : {},
  );
  for (const commit of incomplete) await rm(partialMark(dst, commit), { force: true });
  stats.bytesTransferred = meter.bytes;
  meter.tell(true);
  return stats;
}

/** The commits and their parents, as deep as asked and as far as the source has them. */
async function history(src: Repo, commits: readonly Checksum[], depth: number): Promise<Checksum[]> {
  const found = new Set<Checksum>();
  for (const head of commits) {
    let next: Checksum | null = head;
    for (let left = depth < 0 ? Number.POSITIVE_INFINITY : depth; next && left >= 0; left--) {
      if (next !== head && !isComplete(src, next)) break;
      found.add(next);
      if (left > 0) next = (await readCommit(src, next)).parent;
    }
  }
  return [...found];
}

/** Commits of the receiving repository that are likely to share most of their tree with a new one. */
async function predecessors(dst: Repo, parent: Checksum | null, names: readonly string[]): Promise<Set<Checksum>> {
  const found = new Set<Checksum>();
  if (parent) found.add(parent);
  for (const name of names) {
    const present = await readRef(dst, name);
    if (present) found.add(present);
  }
  if (found.size > 0) return found;
  for (const commit of (await listRefs(dst)).values()) {
    found.add(commit);
    if (found.size >= MAX_PREDECESSORS) break;
  }
  return found;
}

async function sameDetached(src: Repo, dst: Repo, commit: Checksum): Promise<boolean> {
  const read = (repo: Repo): Promise<Metadata | null> => readDetachedMetadata(repo, commit).catch(() => null);
  const portable = (value: Metadata | null) =>
    JSON.stringify(value, (_key, inner: unknown) => (typeof inner === 'bigint' ? `${inner}n` : inner));
  return portable(await read(src)) === portable(await read(dst));
}

/** Hands objects to the workers in batches, a few at a time. */
class Copier {
  readonly #tx: Transaction;
  readonly #src: Repo;
  readonly #verify: boolean;
  readonly #meter: ProgressMeter;
  readonly #stats: PullStats;
  #batch: ObjectToVerify[] = [];
  readonly #running = new Set<Promise<void>>();
  #failure: { error: unknown } | undefined;

  constructor(tx: Transaction, src: Repo, trusted: boolean, meter: ProgressMeter, stats: PullStats) {
    this.#tx = tx;
    this.#src = src;
    this.#verify = !trusted;
    this.#meter = meter;
    this.#stats = stats;
  }

  async add(type: 'dirtree' | 'dirmeta' | 'file', checksum: Checksum): Promise<void> {
    this.#meter.objectsKnown++;
    this.#batch.push({ type, checksum, path: objectPath(this.#src, type, checksum) });
    if (this.#batch.length < BATCH_OBJECTS) return;
    this.#send();
    while (this.#running.size >= 3 * pool.size) await Promise.race(this.#running);
    if (this.#failure) throw this.#failure.error;
  }

  async finish(): Promise<void> {
    if (!this.#failure) this.#send();
    await Promise.all(this.#running);
    if (this.#failure) throw this.#failure.error;
  }

  #send(): void {
    const batch = this.#batch;
    this.#batch = [];
    if (batch.length === 0) return;
    const copying = this.#copy(batch).catch((error: unknown) => {
      this.#failure ??= { error };
    });
    this.#running.add(copying);
    void copying.then(() => this.#running.delete(copying));
  }

  async #copy(batch: ObjectToVerify[]): Promise<void> {
    const { mode, ignoreXattrs } = this.#src;
    const options = { from: { mode, ignoreXattrs }, link: true, verify: this.#verify };
    const stored = await this.#tx.copyObjects(batch, options);
    for (const [index, { checksum, size, written, deferred }] of stored.entries()) {
      const { type, path } = batch[index]!;
      if (type === 'file') this.#stats.contentFetched++;
      else this.#stats.metadataFetched++;
      if (type === 'file') this.#stats.bytesUnpacked += size;
      this.#meter.bytes += deferred ? await this.#storeLarge(checksum, path, size) : written;
      this.#meter.objects++;
      this.#meter.tell();
    }
  }

  /** A large file of a bare repository on its way into an archive: every core compresses it. */
  async #storeLarge(checksum: Checksum, path: string, size: number): Promise<number> {
    const { header } = await readFileObject(this.#src, checksum);
    const [stored] = await this.#tx.storeFiles([{ ...header, path, size }]);
    if (stored?.checksum === checksum) return stored.written;
    const object = `${checksum}.file`;
    throw new OstreeError('corrupt', `${object}: its content has the checksum ${stored?.checksum}`, {
      object,
      offset: 0,
    });
  }
}
