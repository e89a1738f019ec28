import { existsSync } from 'node:fs';
import type { Checksum, ObjectType } from '../formats/object-name.ts';
import { objectPath } from '../repo/objects.ts';
import type { Repo } from '../repo/repo.ts';
import { pool } from '../work/pool.ts';
import type { Damage, ObjectToVerify } from '../work/verify-object.ts';

const BATCH_OBJECTS = 64;
/** A file is read and inflated, folders are small: about what a batch means to the workers. */
const OBJECT_COST = 32 * 1024;

export interface VerifierOptions {
  signal?: AbortSignal | undefined;
  onProgress?: ((progress: { objects: number; objectsKnown: number }) => void) | undefined;
}

/** Hands objects to the workers in batches, which read and hash them. */
export class Verifier {
  /** Objects checked. */
  objects = 0;
  readonly #repos: readonly Repo[];
  readonly #options: VerifierOptions;
  readonly #batches = new Map<Repo, ObjectToVerify[]>();
  readonly #running = new Set<Promise<void>>();
  readonly #damage: Damage[] = [];
  #known = 0;
  #failure: { error: unknown } | undefined;

  /** @param repos the repository, then its parents, in which what it lacks may be */
  constructor(repos: readonly Repo[], options: VerifierOptions) {
    this.#repos = repos;
    this.#options = options;
  }

  /** Checks an object, sooner or later. Returns a promise only when there is enough under way. */
  add(type: ObjectType, checksum: Checksum): Promise<void> | undefined {
    this.#known++;
    const repo = this.#holder(type, checksum);
    const batch = this.#batches.get(repo) ?? [];
    this.#batches.set(repo, batch);
    batch.push({ type, checksum, path: objectPath(repo, type, checksum) });
    if (batch.length < BATCH_OBJECTS) return undefined;
    this.#send(repo);
    return this.#running.size >= 3 * pool.size || this.#failure ? this.#room() : undefined;
  }

  /** What is wrong with all that was added. */
  async finish(): Promise<Damage[]> {
    for (const repo of this.#repos) this.#send(repo);
    await Promise.all(this.#running);
    if (this.#failure) throw this.#failure.error;
    return this.#damage;
  }

  #holder(type: ObjectType, checksum: Checksum): Repo {
    const [own, ...parents] = this.#repos;
    if (parents.length === 0 || existsSync(objectPath(own!, type, checksum))) return own!;
    return parents.find((repo) => existsSync(objectPath(repo, type, checksum))) ?? own!;
  }

  async #room(): Promise<void> {
    while (this.#running.size >= 3 * pool.size) await Promise.race(this.#running);
    this.#options.signal?.throwIfAborted();
    if (this.#failure) throw this.#failure.error;
  }

  #send(repo: Repo): void {
    const objects = this.#batches.get(repo) ?? [];
    this.#batches.delete(repo);
    if (objects.length === 0) return;
    const { mode, ignoreXattrs } = repo;
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
