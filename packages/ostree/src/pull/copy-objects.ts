import { lstatSync } from 'node:fs';
import { type Checksum, corruptedObject } from '../formats/object-name.ts';
import { hasObject, objectPath, readFileObject } from '../repo/objects.ts';
import type { Repo } from '../repo/repo.ts';
import type { Transaction } from '../repo/transaction.ts';
import { pool } from '../work/pool.ts';
import type { ObjectToVerify } from '../work/verify-object.ts';
import { assertBareUserOnlyMode } from './bare-user-only.ts';
import type { ProgressMeter } from './progress.ts';
import type { Subpaths } from './subpaths.ts';
import { type RootToWalk, walkClosure } from './walk-closure.ts';

export interface CopyTreesOptions {
  /** Take objects without hashing them. */
  trusted: boolean;
  meter: ProgressMeter;
  /** Only these parts of the trees. */
  subpaths?: Subpaths | undefined;
  /** Refuse regular files with permissions outside of 0775. */
  bareUserOnlyFiles?: boolean | undefined;
  signal?: AbortSignal | undefined;
}

/** Objects that were not there before. */
export interface CopiedObjects {
  metadata: number;
  content: number;
  /** Bytes of the files' content. */
  bytes: number;
  /** Bytes of content that were written rather than linked. */
  written: number;
}

const BATCH_OBJECTS = 256;

/**
 * Copies what trees consist of from a repository of this machine into a transaction. Where modes, owners and file
 * systems are the same, objects are hard-linked, otherwise copied or converted.
 *
 * @throws OstreeError `not-found` for what the source lacks, `corrupt`, `unsupported`
 */
export async function copyTrees(
  tx: Transaction,
  src: Repo,
  roots: readonly RootToWalk[],
  options: CopyTreesOptions,
): Promise<CopiedObjects> {
  const { repo } = tx;
  const { signal, subpaths } = options;
  const copier = new Copier(tx, src, options);
  try {
    for await (const batch of walkClosure(src, roots, { knownIn: repo, signal, subpaths })) {
      for (const { type, checksum } of batch) {
        if (!hasObject(repo, type, checksum)) await copier.add(type, checksum);
      }
      signal?.throwIfAborted();
    }
  } finally {
    await copier.finish();
  }
  return copier.copied;
}

/** Hands objects to the workers in batches, a few at a time. */
class Copier {
  readonly copied: CopiedObjects = { metadata: 0, content: 0, bytes: 0, written: 0 };
  readonly #tx: Transaction;
  readonly #src: Repo;
  readonly #options: CopyTreesOptions;
  readonly #meter: ProgressMeter;
  /** Whoever owns the other repository could change a file that both have, after it was looked at. */
  readonly #link: boolean;
  readonly #linksContent: boolean;
  #batch: ObjectToVerify[] = [];
  readonly #running = new Set<Promise<void>>();
  #failure: { error: unknown } | undefined;

  constructor(tx: Transaction, src: Repo, options: CopyTreesOptions) {
    this.#tx = tx;
    this.#src = src;
    this.#options = options;
    this.#meter = options.meter;
    const [from, to] = [lstatSync(objectsOf(src)), lstatSync(objectsOf(tx.repo))];
    this.#link = from.uid === to.uid;
    this.#linksContent = this.#link && from.dev === to.dev && src.mode === tx.repo.mode;
  }

  async add(type: 'dirtree' | 'dirmeta' | 'file', checksum: Checksum): Promise<void> {
    if (type === 'file' && this.#options.bareUserOnlyFiles) {
      assertBareUserOnlyMode((await readFileObject(this.#src, checksum)).header, checksum);
    }
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
    const options = { from: { mode, ignoreXattrs }, link: this.#link, verify: !this.#options.trusted };
    const stored = await this.#tx.copyObjects(batch, options);
    for (const [index, { checksum, size, written, deferred }] of stored.entries()) {
      const { type, path } = batch[index]!;
      if (type === 'file') {
        this.copied.content++;
        this.copied.bytes += size;
        if (!this.#linksContent) this.copied.written += size;
      } else this.copied.metadata++;
      this.#meter.bytes += deferred ? await storeLargeObject(this.#tx, this.#src, { checksum, path, size }) : written;
      this.#meter.objects++;
      this.#meter.tell();
    }
  }
}

/** Stores a large file of a bare repository that is on its way into an archive: every core compresses it. */
export async function storeLargeObject(
  tx: Transaction,
  src: Repo,
  { checksum, path, size }: { checksum: Checksum; path: string; size: number },
): Promise<number> {
  const { header } = await readFileObject(src, checksum);
  const [stored] = await tx.storeFiles([{ ...header, path, size }]);
  if (stored?.checksum === checksum) return stored.written;
  throw corruptedObject('file', checksum, stored!.checksum);
}

function objectsOf(repo: Repo): string {
  return `${repo.path}/objects`;
}
