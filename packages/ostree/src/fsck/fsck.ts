import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { OstreeError } from '../errors.ts';
import { type Checksum, isChecksum, type ObjectType, type Tree } from '../formats/object-name.ts';
import { isComplete } from '../pull/known-trees.ts';
import { walkClosure } from '../pull/walk-closure.ts';
import { hasObject, objectPath, readCommit } from '../repo/objects.ts';
import { listRefs } from '../repo/refs.ts';
import type { Repo } from '../repo/repo.ts';
import { pool } from '../work/pool.ts';
import type { Damage, ObjectToVerify } from '../work/verify-object.ts';

export interface FsckOptions {
  signal?: AbortSignal;
  /** Objects checked, and known to be needed so far. */
  onProgress?: (progress: { objects: number; objectsKnown: number }) => void;
}

/** An object that is not what its name says, or not there. */
export interface DamagedObject extends Damage {
  /** The commits that need it. */
  commits: Checksum[];
  /** One path at which it is in the first of them. Undefined for a commit. */
  path?: string;
}

export interface FsckReport {
  /** Commits whose whole tree was checked. */
  commits: number;
  /** Commits marked as partial: their own object was checked, their trees may lack anything. */
  partialCommits: Checksum[];
  /** Objects checked. */
  objects: number;
  damaged: DamagedObject[];
  /** Refs to commits that are not there. */
  danglingRefs: Map<string, Checksum>;
  /** Refs that hold no checksum or cannot be refs, with what is wrong. */
  brokenRefs: Map<string, string>;
  /** Commits that are damaged or need something that is. */
  affectedCommits: Checksum[];
}

const BATCH_OBJECTS = 64;
/** A file is read and inflated, folders are small: about what a batch means to the workers. */
const OBJECT_COST = 32 * 1024;

/**
 * Checks every commit of a repository with everything that it needs, on every core: each object is read and hashed.
 * A healthy repository has neither `damaged` objects nor `danglingRefs`. Nothing is changed. Objects that no commit
 * needs are left alone, as libostree does.
 */
export async function fsck(repo: Repo, options: FsckOptions = {}): Promise<FsckReport> {
  const { signal } = options;
  const commits = await listCommits(repo);
  const danglingRefs = new Map<string, Checksum>();
  const brokenRefs = new Map<string, string>();
  const refs = await listRefs(repo, undefined, { onBroken: (name, { message }) => brokenRefs.set(name, message) });
  for (const [name, commit] of refs) {
    if (!hasObject(repo, 'commit', commit)) danglingRefs.set(name, commit);
  }
  const verifier = new Verifier(repo, options);
  const whole = new Map<Checksum, Tree>();
  const partialCommits: Checksum[] = [];
  for (const checksum of commits) {
    await verifier.add('commit', checksum);
    if (!isComplete(repo, checksum)) partialCommits.push(checksum);
    else {
      const tree = await readTree(repo, checksum);
      if (tree) whole.set(checksum, tree); // else the verifier says what is wrong with it
    }
  }
  const roots = [...whole.values()].map((tree) => ({ tree }));
  for await (const batch of walkClosure(repo, roots, { signal, onDamaged: () => {} })) {
    for (const { type, checksum } of batch) await verifier.add(type, checksum);
  }
  const found = await verifier.finish();
  const damaged = found.length === 0 ? [] : await traceDamage(repo, found, whole, signal);
  return {
    commits: whole.size,
    partialCommits,
    objects: verifier.objects,
    damaged,
    danglingRefs,
    brokenRefs,
    affectedCommits: [...new Set(damaged.flatMap((one) => one.commits))].sort(),
  };
}

async function listCommits(repo: Repo): Promise<Checksum[]> {
  const objects = join(repo.path, 'objects');
  const found: Checksum[] = [];
  for (const folder of (await readdir(objects)).sort()) {
    if (!/^[0-9a-f]{2}$/.test(folder)) continue;
    for (const name of await readdir(join(objects, folder))) {
      if (!name.endsWith('.commit')) continue;
      const checksum = folder + name.slice(0, -'.commit'.length);
      if (isChecksum(checksum)) found.push(checksum);
    }
  }
  return found;
}

async function readTree(repo: Repo, commit: Checksum): Promise<Tree | null> {
  try {
    return (await readCommit(repo, commit)).tree;
  } catch (error) {
    if (error instanceof OstreeError) return null;
    throw error;
  }
}

/** Hands objects to the workers in batches. */
class Verifier {
  objects = 0;
  readonly #repo: Repo;
  readonly #options: FsckOptions;
  #batch: ObjectToVerify[] = [];
  #known = 0;
  readonly #running = new Set<Promise<void>>();
  readonly #damage: Damage[] = [];
  #failure: { error: unknown } | undefined;

  constructor(repo: Repo, options: FsckOptions) {
    this.#repo = repo;
    this.#options = options;
  }

  async add(type: ObjectType, checksum: Checksum): Promise<void> {
    this.#known++;
    this.#batch.push({ type, checksum, path: objectPath(this.#repo, type, checksum) });
    if (this.#batch.length < BATCH_OBJECTS) return;
    this.#send();
    while (this.#running.size >= 3 * pool.size) await Promise.race(this.#running);
    this.#options.signal?.throwIfAborted();
    if (this.#failure) throw this.#failure.error;
  }

  async finish(): Promise<Damage[]> {
    this.#send();
    await Promise.all(this.#running);
    if (this.#failure) throw this.#failure.error;
    return this.#damage;
  }

  #send(): void {
    const objects = this.#batch;
    this.#batch = [];
    if (objects.length === 0) return;
    const { mode, ignoreXattrs } = this.#repo;
    const task = { kind: 'verify-objects' as const, format: { mode, ignoreXattrs }, objects };
    const checking = pool.run(task, objects.length * OBJECT_COST).then(
      (damage) => {
        this.#damage.push(...damage);
        this.objects += objects.length;
        this.#options.onProgress?.({ objects: this.objects, objectsKnown: this.#known });
      },
      (error: unknown) => {
        this.#failure ??= { error };
      },
    );
    this.#running.add(checking);
    void checking.then(() => this.#running.delete(checking));
  }
}

/** Says of each damaged object which commits need it: worth a second walk, since it hardly ever happens. */
async function traceDamage(
  repo: Repo,
  found: Damage[],
  whole: ReadonlyMap<Checksum, Tree>,
  signal: AbortSignal | undefined,
): Promise<DamagedObject[]> {
  const byName = new Map<string, DamagedObject>();
  for (const damage of found) {
    const commits = damage.type === 'commit' ? [damage.checksum] : [];
    byName.set(`${damage.checksum}.${damage.type}`, { ...damage, commits });
  }
  for (const [commit, tree] of whole) {
    for await (const batch of walkClosure(repo, [{ tree }], { signal, onDamaged: () => {} })) {
      for (const { type, checksum, path } of batch) {
        const object = byName.get(`${checksum}.${type}`);
        if (!object) continue;
        object.commits.push(commit);
        object.path ??= path;
      }
    }
  }
  return [...byName.values()];
}
