import { OstreeError, systemCode } from '../errors.ts';
import { type Commit, decodeCommit } from '../formats/commit.ts';
import type { Checksum, Tree } from '../formats/object-name.ts';
import { enableTombstones, writeTombstone } from '../prune/tombstone.ts';
import { listCollectionRefs } from '../repo/collection-refs.ts';
import { lockRepo } from '../repo/lock.ts';
import { hasObject, objectPath, readMetadata } from '../repo/objects.ts';
import { withParents } from '../repo/parents.ts';
import { listCommits, listRefs } from '../repo/refs.ts';
import type { Repo } from '../repo/repo.ts';
import { unlinkObjects } from '../work/unlink-objects.ts';
import { type Damage, verifyObject } from '../work/verify-object.ts';
import { backRefFault, bindingFault } from './bindings.ts';
import { markLost, partialReason } from './partial-marks.ts';
import { traceDamage } from './trace.ts';
import { Verifier } from './verifier.ts';
import { TreeWalk } from './walk.ts';

/** How a repository is checked. */
export interface FsckOptions {
  signal?: AbortSignal;
  /** Objects checked, and known to be needed so far. */
  onProgress?: (progress: { objects: number; objectsKnown: number }) => void;
  /**
   * Changes what is wrong. `mark`: commits that lack something are marked as partial, so that nobody takes them for
   * whole and a pull gets what is lost. `delete`: damaged objects are deleted first, and so are lost, too. Default:
   * nothing is changed.
   */
  fix?: 'mark' | 'delete';
  /** Also check commits that an earlier fsck has marked, as if they were whole. */
  includeLost?: boolean;
  /** Check that commits were made for the refs that name them. */
  verifyBindings?: boolean;
  /** Also check that the refs that commits were made for name them. */
  verifyBackRefs?: boolean;
  /** Leave tombstones for the commits that are not there but are parents of others. */
  addTombstones?: boolean;
}

/** An object that is not what its name says, or not there. */
export interface DamagedObject extends Damage {
  /** The commits that need it. */
  commits: Checksum[];
  /** One path at which it is in the first of them. Undefined for a commit. */
  path?: string;
}

/** What a check has found. */
export interface FsckReport {
  /** Commits whose whole tree was checked. */
  commits: number;
  /** Commits marked as partial: their own object was checked, their trees may lack anything. */
  partialCommits: Checksum[];
  /** Those of them that an earlier fsck marked, because something was lost. */
  lostCommits: Checksum[];
  /** Objects checked. */
  objects: number;
  damaged: DamagedObject[];
  /** Refs, `name`, `remote:name` or `(collection, name)`, to commits that are not there. */
  danglingRefs: Map<string, Checksum>;
  /** Refs that hold no checksum or cannot be refs, with what is wrong. */
  brokenRefs: Map<string, string>;
  /** Commits that are damaged or need something that is. */
  affectedCommits: Checksum[];
  /** Commits that were marked as partial by this fsck. */
  marked: Checksum[];
  /** What is wrong with bindings, if they were to be checked. */
  bindingFaults: string[];
  /** Commits for which tombstones were left. */
  tombstones: Checksum[];
}

/**
 * Checks every commit of a repository with everything that it needs, on every core: each object is read and hashed, and
 * metadata is parsed. A healthy repository has neither `damaged` objects, `danglingRefs`, `brokenRefs` nor
 * `lostCommits`. Objects that no commit needs are left alone, as libostree does. Without `fix` and `addTombstones`
 * nothing is changed.
 *
 * @throws OstreeError `io` when something cannot be read at all
 */
export async function fsck(repo: Repo, options: FsckOptions = {}): Promise<FsckReport> {
  const { signal, fix } = options;
  const repos = withParents(repo);
  let report: FsckReport;
  const unlock = await lockIfAllowed(repo, signal);
  try {
    report = await check(repos, options);
  } finally {
    unlock();
  }
  if (fix && report.damaged.length > 0) await applyFix(repo, report, fix, signal);
  return report;
}

/** Nothing is pruned meanwhile. Who may only read a repository may not lock it either. */
async function lockIfAllowed(repo: Repo, signal: AbortSignal | undefined): Promise<() => void> {
  try {
    return await lockRepo(repo, 'shared', signal);
  } catch (error) {
    const code = systemCode(error);
    if (code === 'EACCES' || code === 'EPERM') return () => {};
    throw error;
  }
}

async function check(repos: readonly Repo[], options: FsckOptions): Promise<FsckReport> {
  const { signal } = options;
  const repo = repos[0]!;
  const checker = new CommitChecker(repo, options);
  await checker.checkRefs();
  const verifier = new Verifier(repos, options);
  const walk = new TreeWalk(repos, verifier, signal);
  const whole = new Map<Checksum, Tree>();
  const [partialCommits, lostCommits]: [Checksum[], Checksum[]] = [[], []];
  for (const checksum of await listCommits(repo)) {
    await verifier.add('commit', checksum);
    const commit = await checker.check(checksum);
    const partial = partialReason(repo, checksum);
    if (partial === 'fsck') lostCommits.push(checksum);
    if (partial && !(partial === 'fsck' && options.includeLost)) partialCommits.push(checksum);
    else if (commit) whole.set(checksum, commit.tree); // else the verifier says what is wrong with it
  }
  for (const tree of whole.values()) await walk.add(tree);
  const found = await verifier.finish();
  const damaged = found.length === 0 ? [] : await traceDamage(repos, found, whole, signal);
  const tombstones = options.addTombstones ? await leaveTombstones(repo, checker.lostParents) : [];
  return {
    commits: whole.size,
    partialCommits,
    lostCommits,
    objects: verifier.objects,
    damaged,
    danglingRefs: checker.danglingRefs,
    brokenRefs: checker.brokenRefs,
    affectedCommits: [...new Set(damaged.flatMap((one) => one.commits))].sort(),
    marked: [],
    bindingFaults: checker.bindingFaults,
    tombstones,
  };
}

/** What is to be known of refs and of commits without their trees. */
class CommitChecker {
  readonly danglingRefs = new Map<string, Checksum>();
  readonly brokenRefs = new Map<string, string>();
  readonly bindingFaults: string[] = [];
  readonly lostParents = new Set<Checksum>();
  readonly #repo: Repo;
  readonly #options: FsckOptions;
  readonly #commits = new Map<Checksum, Commit>();

  constructor(repo: Repo, options: FsckOptions) {
    this.#repo = repo;
    this.#options = options;
  }

  async checkRefs(): Promise<void> {
    const broken = (name: string, { message }: OstreeError) => void this.brokenRefs.set(name, message);
    for (const [name, commit] of await listRefs(this.#repo, undefined, { onBroken: broken })) {
      await this.#checkRef(name, commit, { name: name.replace(/^.*:/, ''), collection: null });
    }
    const refs = await listCollectionRefs(this.#repo, {
      excludeRemotes: true,
      onBroken: ({ collection, ref }, error) => broken(`(${collection}, ${ref})`, error),
    });
    for (const { collection, ref, commit } of refs) {
      await this.#checkRef(`(${collection}, ${ref})`, commit, { name: ref, collection });
    }
  }

  async #checkRef(shown: string, checksum: Checksum, ref: { name: string; collection: string | null }): Promise<void> {
    if (!hasObject(this.#repo, 'commit', checksum)) this.danglingRefs.set(shown, checksum);
    else if (this.#options.verifyBindings || this.#options.verifyBackRefs) {
      const commit = await this.#read(checksum);
      const fault = commit && bindingFault(checksum, commit, ref);
      if (fault) this.bindingFaults.push(fault);
    }
  }

  /** Null when it is damaged. */
  async check(checksum: Checksum): Promise<Commit | null> {
    const commit = await this.#read(checksum);
    this.#commits.delete(checksum); // not needed again
    if (!commit) return null;
    const fault = this.#options.verifyBackRefs ? await backRefFault(this.#repo, checksum, commit) : null;
    if (fault) this.bindingFaults.push(fault);
    if (commit.parent && !hasObject(this.#repo, 'commit', commit.parent)) this.lostParents.add(commit.parent);
    return commit;
  }

  async #read(checksum: Checksum): Promise<Commit | null> {
    const before = this.#commits.get(checksum);
    if (before) return before;
    try {
      const data = await readMetadata(this.#repo, 'commit', checksum);
      const commit = decodeCommit(data, `${checksum}.commit`);
      this.#commits.set(checksum, commit);
      return commit;
    } catch (error) {
      if (error instanceof OstreeError && error.code !== 'io') return null;
      throw error;
    }
  }
}

/**
 * libostree leaves the tombstone in place of the child instead, which it deletes; what its manual says is what is done
 * here.
 */
async function leaveTombstones(repo: Repo, lost: Iterable<Checksum>): Promise<Checksum[]> {
  const left: Checksum[] = [];
  for (const commit of lost) {
    if (hasObject(repo, 'tombstone-commit', commit)) continue;
    await enableTombstones(repo);
    await writeTombstone(repo, commit);
    left.push(commit);
  }
  return left;
}

/** Holds commits up only for this, and looks again first: what was damaged may have been replaced by now. */
async function applyFix(
  repo: Repo,
  report: FsckReport,
  fix: 'mark' | 'delete',
  signal: AbortSignal | undefined,
): Promise<void> {
  const unlock = await lockRepo(repo, 'exclusive', signal);
  try {
    for (const { type, checksum, commits } of report.damaged) {
      const path = objectPath(repo, type, checksum);
      const damage = await verifyObject(repo, { type, checksum, path });
      if (!damage || (damage.kind === 'corrupt' && fix !== 'delete')) continue;
      unlinkObjects([path]);
      if (type === 'commit') continue;
      for (const commit of commits) {
        if (partialReason(repo, commit)) continue;
        markLost(repo, commit);
        report.marked.push(commit);
      }
    }
  } finally {
    unlock();
  }
}
