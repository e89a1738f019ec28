import { rm } from 'node:fs/promises';
import { OstreeError } from '../errors.ts';
import type { Checksum, Tree } from '../formats/object-name.ts';
import { writeFileDurably } from '../fs/durable.ts';
import { type CollectionRef, setCollectionRef } from '../repo/collection-refs.ts';
import { assertFreeSpace } from '../repo/free-space.ts';
import { objectPath } from '../repo/objects.ts';
import { listRefs, readRef } from '../repo/refs.ts';
import type { Repo } from '../repo/repo.ts';
import { type Transaction, withTransaction } from '../repo/transaction.ts';
import { isDispensable, receiveDelta } from './apply-delta.ts';
import { askSizes } from './ask-sizes.ts';
import { copyTrees } from './copy-objects.ts';
import { ObjectFetcher } from './fetch-objects.ts';
import { type FoundDelta, findDelta } from './find-delta.ts';
import { fetchHistory, type KnownCommit, type PulledCommit } from './history.ts';
import { MAX_REQUESTS } from './http.ts';
import { inParallel } from './in-parallel.ts';
import { completeRoots, isComplete, partialMark } from './known-trees.ts';
import { tidyPartials } from './partial.ts';
import { type LackingObjects, lackingObjects, predict } from './prediction.ts';
import type { Remote } from './remote.ts';
import type { Transfer, TransferStats } from './transfer-plan.ts';

/** Refs of the receiving repository whose trees are held against what comes, when nothing is known to be similar. */
const MAX_PREDECESSORS = 4;

/**
 * Brings commits here, each after all that it needs, and sets refs when everything is there. What came before an
 * interruption is kept.
 */
export async function transfer(repo: Repo, remote: Remote, plan: Transfer): Promise<TransferStats> {
  const run = new TransferRun(repo, remote, plan);
  await withTransaction(repo, (tx) => run.within(tx), plan.signal ? { signal: plan.signal } : {});
  await run.unmark();
  return run.stats;
}

class TransferRun {
  readonly stats: TransferStats = {
    metadataFetched: 0,
    contentFetched: 0,
    metadataFromCaches: 0,
    contentFromCaches: 0,
    detachedMissing: 0,
    deltaParts: 0,
    bytesUnpacked: 0,
    contentWritten: 0,
    prediction: undefined,
  };
  readonly #repo: Repo;
  readonly #remote: Remote;
  readonly #plan: Transfer;
  /** Commits that are whole when this is done. */
  readonly #whole: Checksum[] = [];

  constructor(repo: Repo, remote: Remote, plan: Transfer) {
    this.#repo = repo;
    this.#remote = remote;
    this.#plan = plan;
  }

  async within(tx: Transaction): Promise<void> {
    const plan = this.#plan;
    const found = await this.#findDeltas();
    const known = new Map<Checksum, KnownCommit>(
      [...found].map(([to, { superblock }]) => [to, { data: superblock.commit, detached: superblock.commitMetadata }]),
    );
    const history = await fetchHistory(this.#repo, this.#remote, {
      ...plan,
      known,
      partialParents: plan.commitMetadataOnly || plan.subpaths !== undefined,
    });
    plan.check(history.commits);
    const incomplete = plan.commitMetadataOnly
      ? []
      : [...history.commits.values()].filter(({ checksum }) => !isComplete(this.#repo, checksum));
    const deltas = this.#worthwhile(found, incomplete);
    if (plan.dryRun) {
      const others = incomplete.filter(({ checksum }) => !deltas.has(checksum));
      this.stats.prediction = predict(deltas.values(), await this.#lacking(others));
      return;
    }
    this.stats.detachedMissing = history.detachedMissing;
    this.stats.metadataFromCaches += history.fromCaches;
    if (this.#remote.source) this.stats.metadataFetched += history.detachedFetched;
    const brought = [...history.commits.values()].filter(({ data }) => data).length;
    this.stats.metadataFetched += brought - history.fromCaches;
    this.#assertRoom(incomplete.filter(({ checksum }) => !deltas.has(checksum)));
    await this.#fetchTrees(tx, incomplete, deltas);
    await tx.flush();
    await this.#storeCommits(tx, history.commits.values());
    await this.#setRefs(tx);
    for (const [checksum, data] of history.tombstones) await this.#storeTombstone(checksum, data);
  }

  /** A commit that is whole needs no mark any more; after the transaction, so that it is. */
  async unmark(): Promise<void> {
    for (const commit of this.#whole) await rm(partialMark(this.#repo, commit), { force: true });
  }

  /** What commits say of their objects, or else what the remote says when it is asked for each. */
  async #lacking(commits: readonly PulledCommit[]): Promise<LackingObjects> {
    const total: LackingObjects = { objects: 0, archived: 0, unpacked: 0 };
    const silent: PulledCommit[] = [];
    const add = (some: LackingObjects) => {
      total.objects += some.objects;
      total.archived += some.archived;
      total.unpacked += some.unpacked;
    };
    for (const one of commits) {
      // Its list knows no paths.
      const lacking = this.#plan.subpaths ? null : lackingObjects(this.#repo, one.commit);
      if (lacking) add(lacking);
      else silent.push(one);
    }
    if (silent.length === 0) return total;
    add(await askSizes(this.#repo, this.#remote, await this.#roots(silent), this.#plan.subpaths));
    return total;
  }

  async #roots(commits: readonly PulledCommit[]): Promise<{ tree: Tree; known: Checksum[] }[]> {
    const roots = [];
    for (const { checksum, commit } of commits) {
      const known = completeRoots(this.#repo, await this.#predecessors(checksum, commit.parent));
      roots.push({ tree: commit.tree, known });
    }
    return roots;
  }

  async #findDeltas(): Promise<Map<Checksum, FoundDelta>> {
    const { deltas, heads, related, summary, meter } = this.#plan;
    const found = new Map<Checksum, FoundDelta>();
    if (deltas === 'never') return found;
    const required = deltas === 'required';
    await inParallel([...heads.keys()], MAX_REQUESTS, async (to) => {
      if (isComplete(this.#repo, to)) return;
      const ref = related.get(to);
      const current = ref ? await this.#firstRef(ref.here) : null;
      const count = (bytes: number) => {
        this.stats.metadataFetched++;
        meter.bytes += bytes;
      };
      try {
        const named = ref ? { name: ref.name, current } : null;
        const delta = await findDelta(this.#repo, this.#remote, to, { summary, ref: named, required, count });
        if (delta) found.set(to, delta);
      } catch (error) {
        if (required || !isDispensable(error)) throw error;
      }
    });
    return found;
  }

  async #firstRef(names: readonly string[]): Promise<Checksum | null> {
    for (const name of names) {
      const commit = await readRef(this.#repo, name);
      if (commit) return commit;
    }
    return null;
  }

  /** Deltas that are not larger than the objects that they stand for, where that is known. */
  #worthwhile(
    found: ReadonlyMap<Checksum, FoundDelta>,
    incomplete: readonly PulledCommit[],
  ): ReadonlyMap<Checksum, FoundDelta> {
    if (this.#plan.deltas === 'required') return found;
    const commits = new Map(incomplete.map((one) => [one.checksum, one.commit]));
    return new Map(
      [...found].filter(([to, { download }]) => {
        const commit = commits.get(to);
        const lacking = commit && lackingObjects(this.#repo, commit);
        return !lacking || download < lacking.archived;
      }),
    );
  }

  #assertRoom(commits: readonly PulledCommit[]): void {
    if (this.#plan.subpaths || commits.length === 0) return;
    const { meter } = this.#plan;
    const lacking = commits.map(({ commit }) => lackingObjects(this.#repo, commit));
    const sum = (key: 'archived' | 'unpacked') => lacking.reduce((total, one) => total + (one?.[key] ?? 0), 0);
    if (lacking.every((one) => one !== null)) meter.bytesExpected = meter.bytes + sum('archived');
    const bytes = sum(this.#repo.mode === 'archive' ? 'archived' : 'unpacked');
    if (bytes > 0) assertFreeSpace(this.#repo, bytes);
  }

  async #fetchTrees(
    tx: Transaction,
    incomplete: readonly PulledCommit[],
    deltas: ReadonlyMap<Checksum, FoundDelta>,
  ): Promise<void> {
    if (incomplete.length === 0) return;
    const plan = this.#plan;
    if (!plan.subpaths) this.#whole.push(...incomplete.map(({ checksum }) => checksum));
    const made = await this.#applyDeltas(tx, deltas);
    const others = incomplete.filter(({ checksum }) => !made.has(checksum));
    if (others.length === 0) return;
    // What deltas made is looked for where everything is.
    if (made.size > 0) await tx.flush();
    const roots = await this.#roots(others);
    if (this.#remote.repo) {
      const copied = await copyTrees(tx, this.#remote.repo, roots, plan);
      this.stats.metadataFetched += copied.metadata;
      this.stats.contentFetched += copied.content;
      this.stats.bytesUnpacked += copied.bytes;
      this.stats.contentWritten += copied.written;
      return;
    }
    await this.#fetch(tx, (fetcher) => {
      for (const { tree, known } of roots) fetcher.add(tree, known);
    });
  }

  async #fetch(tx: Transaction, fill: (fetcher: ObjectFetcher) => void): Promise<void> {
    const { meter, subpaths, bareUserOnlyFiles, trusted, caches } = this.#plan;
    const partials = await tidyPartials(this.#repo);
    const options = { partials, subpaths, bareUserOnlyFiles, trusted, caches };
    const fetcher = new ObjectFetcher(tx, this.#remote.source!, meter, options);
    fill(fetcher);
    try {
      await fetcher.run();
    } catch (error) {
      // What has come is good, each object by itself; after a broken connection it need not come again.
      if (!(error instanceof OstreeError) || error.code === 'network') await tx.flush();
      throw error;
    } finally {
      this.stats.metadataFetched += fetcher.metadataFetched;
      this.stats.contentFetched += fetcher.contentFetched;
      this.stats.metadataFromCaches += fetcher.metadataFromCaches;
      this.stats.contentFromCaches += fetcher.contentFromCaches;
      this.stats.bytesUnpacked += fetcher.bytesUnpacked;
      this.stats.contentWritten += fetcher.bytesUnpacked;
    }
  }

  /**
   * What deltas make need not be fetched; what they fail to make is, unless they are required.
   *
   * @returns the commits that are whole now
   */
  async #applyDeltas(tx: Transaction, deltas: ReadonlyMap<Checksum, FoundDelta>): Promise<Set<Checksum>> {
    const { meter, deltas: use } = this.#plan;
    const made = new Set<Checksum>();
    for (const [to, delta] of deltas) {
      // Until everything is there, the commit that a delta brings along does not count.
      await writeFileDurably(partialMark(this.#repo, to), '');
      try {
        if (delta.missingFallbacks.length > 0) await this.#fetchFallbacks(tx, delta.missingFallbacks);
        const before = tx.stats.contentBytesWritten;
        this.stats.deltaParts += await receiveDelta(tx, this.#remote, delta, meter);
        this.stats.bytesUnpacked += tx.stats.contentBytesWritten - before;
        this.stats.contentWritten += tx.stats.contentBytesWritten - before;
        made.add(to);
      } catch (error) {
        if (use === 'required' || !isDispensable(error)) throw error;
      }
    }
    return made;
  }

  async #fetchFallbacks(tx: Transaction, checksums: readonly Checksum[]): Promise<void> {
    const { repo } = this.#remote;
    if (!repo) {
      return this.#fetch(tx, (fetcher) => {
        for (const checksum of checksums) fetcher.addFile(checksum);
      });
    }
    const { mode, ignoreXattrs } = repo;
    const objects = checksums.map((checksum) => ({
      type: 'file' as const,
      checksum,
      path: objectPath(repo, 'file', checksum),
    }));
    await tx.copyObjects(objects, { from: { mode, ignoreXattrs }, link: false, verify: !this.#plan.trusted });
    this.stats.contentFetched += checksums.length;
  }

  /** Commits of this repository that are likely to share most of their tree with a new one. */
  async #predecessors(checksum: Checksum, parent: Checksum | null): Promise<Set<Checksum>> {
    const found = new Set<Checksum>();
    if (parent) found.add(parent);
    for (const name of this.#plan.related.get(checksum)?.here ?? []) {
      const present = await readRef(this.#repo, name);
      if (present) found.add(present);
    }
    if (found.size > 0) return found;
    for (const commit of (await listRefs(this.#repo, undefined, { onBroken: () => {} })).values()) {
      found.add(commit);
      if (found.size >= MAX_PREDECESSORS) break;
    }
    return found;
  }

  async #storeCommits(tx: Transaction, commits: Iterable<PulledCommit>): Promise<void> {
    const { commitMetadataOnly, subpaths, trusted } = this.#plan;
    const { repo } = this.#remote;
    for (const { checksum, data, detached } of commits) {
      if (detached) tx.writeDetachedMetadata(checksum, detached);
      if (!data) continue;
      if (commitMetadataOnly || subpaths) await writeFileDurably(partialMark(this.#repo, checksum), '');
      if (!repo) tx.importMetadata('commit', checksum, data);
      else {
        const { mode, ignoreXattrs } = repo;
        const object = { type: 'commit' as const, checksum, path: objectPath(repo, 'commit', checksum) };
        await tx.copyObjects([object], { from: { mode, ignoreXattrs }, link: true, verify: !trusted });
      }
    }
  }

  async #setRefs(tx: Transaction): Promise<void> {
    const { refs } = this.#plan;
    for (const { target, commit } of refs) if (typeof target === 'string') tx.setRef(target, commit);
    const mirrored = refs.filter(({ target }) => typeof target !== 'string');
    if (mirrored.length === 0) return;
    // A transaction knows no refs of collections: they are set when the commits are there.
    await tx.flush();
    for (const { target, commit } of mirrored) await setCollectionRef(this.#repo, target as CollectionRef, commit);
  }

  /** As libostree, keeps only those of repositories on this machine. */
  async #storeTombstone(commit: Checksum, data: Buffer): Promise<void> {
    if (this.#remote.repo) await writeFileDurably(objectPath(this.#repo, 'tombstone-commit', commit), data);
  }
}
