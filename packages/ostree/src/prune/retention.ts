import { existsSync, readFileSync } from 'node:fs';
import { OstreeError, systemCode } from '../errors.ts';
import { decodeCommit } from '../formats/commit.ts';
import type { Checksum, Tree } from '../formats/object-name.ts';
import { partialMark } from '../pull/known-trees.ts';
import { listCollectionRefs } from '../repo/collection-refs.ts';
import { assertHash, objectPath } from '../repo/objects.ts';
import { listRefs, resolveRev } from '../repo/refs.ts';
import type { Repo } from '../repo/repo.ts';

/** Which commits are kept. */
export interface RetentionOptions {
  /** Keep what refs name, and their history up to `depth`; otherwise every commit is kept. Implied by the next three. */
  refsOnly?: boolean;
  /** How many parents of a commit are kept with it; default -1, all that are there. */
  depth?: number;
  /** Refs of the repository itself that keep nothing. */
  ignoreRefs?: ReadonlySet<string>;
  /** Of each branch, keep the history that is younger than this, in seconds since 1970. What a ref names is kept. */
  keepYoungerThan?: number;
  /** Depths of certain branches (refs, `remote:ref`), which count more than all else. */
  retainBranchDepth?: ReadonlyMap<string, number>;
  /** Thin out only these branches: all others keep their whole history. */
  onlyBranches?: readonly string[];
  /**
   * Commits that are kept whatever refs say, without their history. A function is asked each time that it matters, with
   * the commits that are there: also under the exclusive lock, when nobody writes, just before anything is deleted.
   */
  keep?: Iterable<Checksum> | ((all: ReadonlySet<Checksum>) => Iterable<Checksum> | Promise<Iterable<Checksum>>);
}

interface KnownCommit {
  parent: Checksum | null;
  timestamp: number;
  tree: Tree;
}

/** Decides which commits are kept, as often as it is asked: commits are read once, refs each time. */
export class Retention {
  readonly #repos: readonly Repo[];
  readonly #options: RetentionOptions;
  readonly #commits = new Map<Checksum, KnownCommit>();

  /** @param repos the repository, then its parents: history may go on there */
  constructor(repos: readonly Repo[], options: RetentionOptions) {
    this.#repos = repos;
    this.#options = options;
  }

  /**
   * The commits to keep, given those that there are.
   *
   * @throws OstreeError `not-found` for a branch to thin out that there is not; `corrupt` for a damaged commit or ref:
   *   to go on might delete what it stands for
   */
  async keep(all: ReadonlySet<Checksum>): Promise<Set<Checksum>> {
    const {
      refsOnly,
      depth = -1,
      keepYoungerThan,
      retainBranchDepth,
      onlyBranches,
      ignoreRefs,
      keep = [],
    } = this.#options;
    const repo = this.#repos[0]!;
    const kept = new Map<Checksum, number>();
    for (const commit of typeof keep === 'function' ? await keep(all) : keep) this.#follow(kept, commit, 0);
    const byBranch = retainBranchDepth || onlyBranches || keepYoungerThan !== undefined;
    if (!refsOnly && !byBranch) {
      for (const commit of all) this.#follow(kept, commit, depth);
      return new Set(kept.keys());
    }
    const only = onlyBranches ? new Set(onlyBranches) : null;
    for (const branch of only ?? []) await resolveRev(repo, branch);
    const collections = await listCollectionRefs(repo, { excludeRemotes: true });
    const refs: [name: string | null, commit: Checksum][] = [
      ...(await listRefs(repo)),
      ...collections.map(({ commit }): [null, Checksum] => [null, commit]),
    ];
    for (const [name, commit] of refs) {
      if (name !== null && ignoreRefs?.has(name)) continue;
      const own = name === null ? undefined : retainBranchDepth?.get(name);
      if (own !== undefined) this.#follow(kept, commit, own);
      else if (only && (name === null || !only.has(name))) this.#follow(kept, commit, -1);
      else if (keepYoungerThan !== undefined) this.#followYounger(kept, commit, keepYoungerThan);
      else this.#follow(kept, commit, depth);
    }
    return new Set(kept.keys());
  }

  /** The tree of a commit that is there, and whether it need not be whole. */
  tree(commit: Checksum): { tree: Tree; partial: boolean } {
    const known = this.#read(commit);
    if (!known) throw new OstreeError('not-found', `No such metadata object ${commit}.commit`);
    return { tree: known.tree, partial: this.#repos.some((repo) => existsSync(partialMark(repo, commit))) };
  }

  /** Keeps a commit and as many parents; what is not there ends it, as people keep repositories without history. */
  #follow(kept: Map<Checksum, number>, start: Checksum, depth: number): void {
    const reach = (left: number) => (left < 0 ? Number.POSITIVE_INFINITY : left);
    let left = depth;
    for (let commit: Checksum | null = start; commit !== null; left--) {
      const before = kept.get(commit);
      if (before !== undefined && reach(before) >= reach(left)) return;
      const known = this.#read(commit);
      if (!known) return;
      kept.set(commit, left);
      if (left === 0) return;
      commit = known.parent;
    }
  }

  #followYounger(kept: Map<Checksum, number>, start: Checksum, since: number): void {
    for (let commit: Checksum | null = start; commit !== null; ) {
      const known = this.#read(commit);
      const isKept = known && (commit === start || known.timestamp >= since);
      if (!isKept) return;
      if (!kept.has(commit)) kept.set(commit, 0);
      if (known.timestamp < since) return;
      commit = known.parent;
    }
  }

  #read(commit: Checksum): KnownCommit | null {
    const before = this.#commits.get(commit);
    if (before) return before;
    for (const repo of this.#repos) {
      let data: Buffer;
      try {
        data = readFileSync(objectPath(repo, 'commit', commit));
      } catch (error) {
        if (systemCode(error) === 'ENOENT') continue;
        throw error;
      }
      assertHash(data, commit, 'commit');
      const { parent, timestamp, tree } = decodeCommit(data, `${commit}.commit`);
      const known = { parent, timestamp, tree };
      this.#commits.set(commit, known);
      return known;
    }
    return null;
  }
}
