import { setTimeout as sleep } from 'node:timers/promises';
import { type Checksum, isChecksum } from '../formats/object-name.ts';
import { lockRepo } from '../repo/lock.ts';
import { withParents } from '../repo/parents.ts';
import type { Repo } from '../repo/repo.ts';
import { repoSettings } from '../repo/settings.ts';
import { pool } from '../work/pool.ts';
import { unlinkObjects } from '../work/unlink-objects.ts';
import { pruneCaches } from './caches.ts';
import { pruneDeltas } from './deltas.ts';
import { ObjectListing, removeCommitCompany, type StoredType, statObject } from './object-listing.ts';
import { Reachable } from './reachable.ts';
import { Retention, type RetentionOptions } from './retention.ts';
import { timeSlices } from './time-slices.ts';
import { writeTombstone } from './tombstone.ts';

/** What is kept, and how the rest is deleted. */
export interface PruneOptions extends RetentionOptions {
  /** Delete nothing, only say what would be. */
  dryRun?: boolean;
  /** Delete commits only; what only they have stays until the next prune. */
  commitOnly?: boolean;
  /**
   * Delete only what was stored, or linked elsewhere, before this; milliseconds since 1970. What is younger is kept with
   * all that it needs, whether anything needs it or not: somebody may be about to. Default: the beginning of this prune.
   */
  storedBefore?: number;
  signal?: AbortSignal;
  /** Objects deleted so far, of those that are to be. */
  onProgress?: (progress: { deleted: number; total: number }) => void;
}

/** What a prune did, or would do. */
export interface PruneReport {
  /** Objects that there were: commits, folders, their metadata, and files. */
  objects: number;
  /** Objects deleted, or with `dryRun` those that would be. */
  deleted: number;
  /** Bytes that their files took. */
  bytesFreed: number;
  /** Of these, bytes in files that have another name (hard links): they are not free until that is deleted, too. */
  bytesLinked: number;
}

/** How long commits are kept out at a time, and how long they are let in then. */
const HOLD_MS = 500;
const BREATH_MS = 50;
/** A file gets the time of the kernel's last tick, which may have been as long ago. */
const CLOCK_MS = 10;

/**
 * Deletes the objects that nothing needs that is kept, and static deltas to commits that are gone.
 *
 * Commits go on meanwhile, ours and libostree's. What is reached is walked under the repository's shared lock, which
 * keeps no commit out; only another prune. Then the exclusive lock is taken, for half a second at a time, and what is
 * about to be deleted is held against what has changed:
 *
 * 1. A transaction, of libostree or of this library, holds the shared lock from before it looks whether an object is
 *    there until its commit and refs are written. So under the exclusive lock there is none under way, and one that
 *    relied on an object that was here while we walked has its commit in place.
 * 2. Under the lock the commits and refs are listed anew. A commit that was not there when the walk began is kept with
 *    everything that it needs, whether a ref names it yet or not, and so is what refs name by now.
 * 3. What the walk has found stays found: objects do not change. So only what is new is walked under the lock.
 * 4. What came after the walk began is not on the list of what may go, and an object whose file was changed since is
 *    not deleted either, nor what it needs, whoever needs it: who writes without any lock (`core.locking=false`, a tool
 *    that copies objects) has that long to finish. `storedBefore` gives them longer.
 * 5. First commits and then folders are deleted, all of these without letting go of the lock, and then the rest. So
 *    whenever the lock is free, what is there has what it needs, and the kill of a prune leaves garbage at worst.
 *
 * What remains is what libostree has too: a ref that is set, without a transaction, to a commit that is just being
 * deleted dangles.
 *
 * @throws OstreeError `not-found`, `corrupt` when something that is kept is damaged: nothing is deleted then, as what
 *   it needs cannot be known; `io` when the lock is not to be had
 */
export async function prune(repo: Repo, options: PruneOptions = {}): Promise<PruneReport> {
  const { signal, dryRun = false, commitOnly = false } = options;
  const began = Date.now();
  // A dry run deletes nothing from under anybody.
  const limit = dryRun ? Number.POSITIVE_INFINITY : began;
  const storedBefore = Math.min(options.storedBefore ?? limit, limit);
  await sleep(CLOCK_MS, undefined, { signal }); // what is made from now on does not look older than that
  const repos = withParents(repo);
  const retention = new Retention(repos, options);
  const reachable = new Reachable(repos);
  const kept = new Set<Checksum>();
  /** Walks what is kept by now and was not before. */
  const mark = async (wanted: Set<Checksum>): Promise<void> => {
    const fresh = [...wanted].filter((commit) => !kept.has(commit));
    for (const commit of fresh) kept.add(commit);
    if (commitOnly) return;
    const trees = fresh.map((commit) => retention.tree(commit));
    // What is whole first: it says what is missing.
    for (const { tree, partial } of trees.sort((a, b) => Number(a.partial) - Number(b.partial))) {
      await reachable.add(tree, { partial, signal });
    }
  };

  const report: PruneReport = { objects: 0, deleted: 0, bytesFreed: 0, bytesLinked: 0 };
  let doomed: Doomed;
  const unlock = await lockRepo(repo, 'shared', signal);
  let listing: ObjectListing;
  let before: Set<Checksum>;
  try {
    // Before refs are read: what comes from now on is new, and not on the list of what may go.
    listing = new ObjectListing(repo);
    before = listing.commits();
    await mark(await retention.keep(before));
    doomed = await findDoomed(listing, { retention, kept, reachable, commitOnly, storedBefore, report, signal });
  } finally {
    unlock();
  }
  if (dryRun) {
    for (const object of [...doomed.commits, ...doomed.folders, ...doomed.rest]) count(report, object);
    return report;
  }
  const isNeeded = ({ type, checksum }: DoomedObject) => isReached(type, checksum, kept, reachable);
  const recheck = async (): Promise<void> => {
    const now = listing.commitsNow();
    const wanted = await retention.keep(now);
    for (const commit of now) if (!before.has(commit)) wanted.add(commit);
    await mark(wanted);
  };
  if (doomed.commits.length + doomed.folders.length + doomed.rest.length > 0) {
    await new Deletion(repo, { report, recheck, isNeeded, options }).run(doomed);
  }
  await pruneDeltas(repo, { ...(signal && { signal }) });
  await pruneCaches(repo);
  return report;
}

interface DoomedObject {
  type: StoredType;
  checksum: Checksum;
  path: string;
  size: number;
  /** Under how many names its file is. */
  links: number;
}

function count(report: PruneReport, { size, links }: DoomedObject): void {
  report.deleted++;
  report.bytesFreed += size;
  if (links > 1) report.bytesLinked += size;
}

/** What is to be deleted, in this order; commits and folders at once. */
interface Doomed {
  commits: DoomedObject[];
  folders: DoomedObject[];
  rest: DoomedObject[];
}

interface Finding {
  retention: Retention;
  kept: Set<Checksum>;
  reachable: Reachable;
  commitOnly: boolean;
  storedBefore: number;
  report: PruneReport;
  signal: AbortSignal | undefined;
}

async function findDoomed(listing: ObjectListing, finding: Finding): Promise<Doomed> {
  const { retention, kept, reachable, commitOnly, storedBefore, report, signal } = finding;
  const pause = timeSlices(signal);
  const { dirtrees, dirmetas, files } = reachable;
  const sets = { dirtree: dirtrees, dirmeta: dirmetas, file: files };
  const byType: Record<StoredType, DoomedObject[]> = { commit: [], dirtree: [], dirmeta: [], file: [] };
  const young: DoomedObject[] = [];
  const visit = (folder: string, file: string, type: StoredType, path: string) => {
    if (commitOnly && type !== 'commit') return;
    report.objects++;
    if (type !== 'commit' && sets[type].hasNamed(folder, file)) return;
    const checksum = folder + file.slice(0, 62);
    if (kept.has(checksum) || !isChecksum(checksum)) return;
    const stats = statObject(`${path}/${file}`);
    if (!stats) return;
    const { size, links, changedMs } = stats;
    const list = changedMs >= storedBefore ? young : byType[type];
    list.push({ type, checksum, path: `${path}/${file}`, size, links });
  };
  for (const _ of listing.visit(visit)) await pause();
  // What stays must go on having its parts, which may be old. Nobody said that it is whole.
  for (const { type, checksum } of young) {
    if (type === 'commit') {
      kept.add(checksum);
      if (!commitOnly) await reachable.add(retention.tree(checksum).tree, { partial: true, signal });
    } else if (type === 'dirtree') await reachable.addFolder(checksum, { partial: true, signal });
  }
  const isDoomed = ({ type, checksum }: DoomedObject) =>
    young.length === 0 || !isReached(type, checksum, kept, reachable);
  return {
    commits: byType.commit.filter(isDoomed),
    folders: byType.dirtree.filter(isDoomed),
    rest: [...byType.dirmeta, ...byType.file].filter(isDoomed),
  };
}

function isReached(type: StoredType, checksum: Checksum, kept: ReadonlySet<Checksum>, reachable: Reachable): boolean {
  if (type === 'commit') return kept.has(checksum);
  if (type === 'dirtree') return reachable.dirtrees.has(checksum);
  return type === 'dirmeta' ? reachable.dirmetas.has(checksum) : reachable.files.has(checksum);
}

interface DeletionOptions {
  report: PruneReport;
  /** Finds out, under the lock, what is needed by now. */
  recheck: () => Promise<void>;
  isNeeded: (object: DoomedObject) => boolean;
  options: PruneOptions;
}

const BATCH_OBJECTS = 256;
/** What a deletion costs, in bytes that a worker would handle meanwhile: some thousands are worth its start. */
const UNLINK_COST = 256;

/** Deletes objects on all cores, since the file system takes its time for each. */
class Deletion {
  readonly #repo: Repo;
  readonly #options: DeletionOptions;
  #total = 0;

  constructor(repo: Repo, options: DeletionOptions) {
    this.#repo = repo;
    this.#options = options;
  }

  async run({ commits, folders, rest }: Doomed): Promise<void> {
    const { signal } = this.#options.options;
    this.#total = commits.length + folders.length + rest.length;
    let left = await this.#locked(async (until) => {
      for (const commit of commits) await this.#deleteCommit(commit);
      await this.#deleteUntil(folders, Number.POSITIVE_INFINITY);
      return this.#deleteUntil(rest, until);
    });
    while (left.length > 0) {
      const waiting = left;
      await sleep(BREATH_MS, undefined, { signal });
      left = await this.#locked((until) => this.#deleteUntil(waiting, until));
    }
  }

  async #locked<T>(work: (until: number) => Promise<T>): Promise<T> {
    const { recheck, options } = this.#options;
    const unlock = await lockRepo(this.#repo, 'exclusive', options.signal);
    try {
      const until = performance.now() + HOLD_MS;
      await recheck();
      return await work(until);
    } finally {
      unlock();
    }
  }

  async #deleteCommit(commit: DoomedObject): Promise<void> {
    if (this.#options.isNeeded(commit)) return;
    if (repoSettings(this.#repo.config).tombstoneCommits) await writeTombstone(this.#repo, commit.checksum);
    if (unlinkObjects([commit.path])[0]) count(this.#options.report, commit);
    // After it: without its mark a partial commit would pass for a whole one.
    removeCommitCompany(this.#repo, commit.checksum);
  }

  /** Deletes what is still not needed. Returns what there was no time for. */
  async #deleteUntil(objects: readonly DoomedObject[], until: number): Promise<readonly DoomedObject[]> {
    const { isNeeded, options } = this.#options;
    const running = new Set<Promise<void>>();
    let next = 0;
    try {
      while (next < objects.length && performance.now() < until) {
        options.signal?.throwIfAborted();
        const batch = objects.slice(next, next + BATCH_OBJECTS).filter((object) => !isNeeded(object));
        next += BATCH_OBJECTS;
        const deleting: Promise<void> = this.#unlink(batch).finally(() => running.delete(deleting));
        running.add(deleting);
        if (running.size > pool.size) await Promise.race(running);
      }
    } finally {
      await Promise.all(running); // before the lock is let go
    }
    return objects.slice(next);
  }

  async #unlink(batch: readonly DoomedObject[]): Promise<void> {
    const paths = batch.map(({ path }) => path);
    const there = await pool.run({ kind: 'unlink-objects', paths }, paths.length * UNLINK_COST);
    batch.forEach((object, index) => {
      if (there[index]) count(this.#options.report, object);
    });
    const { report, options } = this.#options;
    options.onProgress?.({ deleted: report.deleted, total: this.#total });
  }
}
