import { lstatSync, readFileSync } from 'node:fs';
import { OstreeError, systemCode } from '../errors.ts';
import type { DirMeta } from '../formats/dirmeta.ts';
import type { DirTree } from '../formats/dirtree.ts';
import type { Checksum } from '../formats/object-name.ts';
import { hasObject, objectPath } from '../repo/objects.ts';
import type { Repo } from '../repo/repo.ts';
import type { Transaction } from '../repo/transaction.ts';
import { storeLargeObject } from './copy-objects.ts';

/** A file of a cache, and how large it is there. */
export interface CachedFile {
  checksum: Checksum;
  cache: Repo;
  path: string;
  size: number;
}

/** What was taken from caches. */
export interface TakenFiles {
  /** Bytes of content, and bytes written for them. */
  unpacked: number;
  written: number;
  /** Damaged in the cache: these have to come from elsewhere. */
  refused: Checksum[];
}

/**
 * Repositories of this machine in which objects are looked for before they are fetched. What they have is hashed on
 * its way; what is damaged there counts as not being there.
 */
export class LocalCaches {
  readonly #tx: Transaction;
  readonly #caches: readonly Repo[];

  constructor(tx: Transaction, caches: readonly Repo[]) {
    this.#tx = tx;
    this.#caches = caches;
  }

  get none(): boolean {
    return this.#caches.length === 0;
  }

  /** Takes over a metadata object. Null when no cache has it. */
  takeMetadata(type: 'dirtree' | 'dirmeta', checksum: Checksum): DirTree | DirMeta | null {
    for (const cache of this.#caches) {
      try {
        const data = readFileSync(objectPath(cache, type, checksum));
        return this.#tx.importMetadata(type, checksum, data) as DirTree | DirMeta;
      } catch (error) {
        if (systemCode(error) === 'ENOENT') continue;
        if (!(error instanceof OstreeError) || error.code !== 'corrupt') throw error;
      }
    }
    return null;
  }

  findFile(checksum: Checksum): CachedFile | null {
    const cache = this.#caches.find((one) => hasObject(one, 'file', checksum));
    if (!cache) return null;
    const path = objectPath(cache, 'file', checksum);
    return { checksum, cache, path, size: lstatSync(path, { throwIfNoEntry: false })?.size ?? 0 };
  }

  async takeFiles(files: readonly CachedFile[]): Promise<TakenFiles> {
    const taken: TakenFiles = { unpacked: 0, written: 0, refused: [] };
    for (const cache of new Set(files.map((one) => one.cache))) {
      const ofCache = files.filter((one) => one.cache === cache);
      try {
        await this.#copy(cache, ofCache, taken);
      } catch (error) {
        if (!isDamage(error)) throw error;
        for (const file of ofCache) {
          await this.#copy(cache, [file], taken).catch((one: unknown) => {
            if (!isDamage(one)) throw one;
            taken.refused.push(file.checksum);
          });
        }
      }
    }
    return taken;
  }

  async #copy(cache: Repo, files: readonly CachedFile[], taken: TakenFiles): Promise<void> {
    const { mode, ignoreXattrs } = cache;
    const objects = files.map(({ checksum, path }) => ({ type: 'file' as const, checksum, path }));
    // Whoever owns the cache could change a file that both have, after it was looked at.
    const link = lstatSync(`${cache.path}/objects`).uid === lstatSync(`${this.#tx.repo.path}/objects`).uid;
    const stored = await this.#tx.copyObjects(objects, { from: { mode, ignoreXattrs }, link, verify: true });
    for (const [index, { size, written, deferred }] of stored.entries()) {
      const { checksum, path } = files[index]!;
      taken.unpacked += size;
      taken.written += deferred ? await storeLargeObject(this.#tx, cache, { checksum, path, size }) : written;
    }
  }
}

function isDamage(error: unknown): boolean {
  if (systemCode(error) === 'ENOENT') return true;
  return error instanceof OstreeError && (error.code === 'corrupt' || error.code === 'not-found');
}
