import { lstatSync, readdirSync, type Stats } from 'node:fs';
import { join } from 'node:path';
import { systemCode } from '../errors.ts';
import type { Checksum } from '../formats/object-name.ts';
import { ChecksumSet } from '../prune/checksum-set.ts';
import type { StoredType } from '../prune/object-listing.ts';
import { timeSlices } from '../prune/time-slices.ts';
import { fileExtension, type Repo } from '../repo/repo.ts';
import { type Amount, BLOCK_BYTES } from './amount.ts';
import type { CountedFiles } from './counted-files.ts';

export const OBJECT_FOLDER = /^[0-9a-f]{2}$/;
const NAME = /^[0-9a-f]{62}\.([a-z-]+)$/;

/** What an object's file is like; the numbers are sums of these. */
const HERE = 1;
const LINKED = 2;

/** Files that belong to the repository and are no objects. */
export interface OtherFiles {
  files: number;
  bytes: number;
  allocated: number;
}

/** Numbers that grow with what there is, 8 bytes each. */
class Numbers {
  #data = new Float64Array(1024);
  length = 0;

  push(value: number): void {
    if (this.length === this.#data.length) {
      const larger = new Float64Array(this.length * 2);
      larger.set(this.#data);
      this.#data = larger;
    }
    this.#data[this.length++] = value;
  }

  at(index: number): number {
    return this.#data[index]!;
  }

  addTo(index: number, value: number): void {
    this.#data[index]! += value;
  }
}

/** The objects of one kind: each has a number, and a size under it. */
class Kind {
  readonly checksums = new ChecksumSet(4096);
  readonly bytes = new Numbers();
  readonly allocated = new Numbers();
  readonly marks = new Numbers();
}

/**
 * Every object of a repository with the size of its file. An object has one number among all: those of a kind follow
 * one another. Objects of parent repositories are there, too, without a size.
 */
export class ObjectTable {
  readonly #kinds: Record<StoredType, Kind> = {
    commit: new Kind(),
    dirtree: new Kind(),
    dirmeta: new Kind(),
    file: new Kind(),
  };
  readonly #bases = { commit: 0, dirtree: 0, dirmeta: 0, file: 0 };
  /** What lies among the objects and is none: tombstones, and metadata of commits that are gone. */
  readonly other: OtherFiles = { files: 0, bytes: 0, allocated: 0 };
  /** What had been counted in another repository. */
  readonly counted = { bytes: 0, allocated: 0 };
  /** How many objects there are: numbers are below it. */
  size = 0;

  /** Reads what there is in a repository and its parents. What comes or goes meanwhile may be missed. */
  static async read(
    repos: readonly Repo[],
    options: { counted?: CountedFiles | undefined; signal?: AbortSignal | undefined },
  ): Promise<ObjectTable> {
    const table = new ObjectTable();
    for (const [index, repo] of repos.entries()) await table.#add(repo, { ...options, isParent: index > 0 });
    for (const type of ['commit', 'dirtree', 'dirmeta', 'file'] as const) {
      table.#bases[type] = table.size;
      table.size += table.#kinds[type].checksums.size;
    }
    return table;
  }

  async #add(
    repo: Repo,
    o: { isParent: boolean; counted?: CountedFiles | undefined; signal?: AbortSignal | undefined },
  ): Promise<void> {
    const pause = timeSlices(o.signal);
    const types = new Map<string, StoredType>([
      ['commit', 'commit'],
      ['dirtree', 'dirtree'],
      ['dirmeta', 'dirmeta'],
      [fileExtension(repo.mode), 'file'],
    ]);
    const objects = join(repo.path, 'objects');
    for (const folder of readdirSync(objects)) {
      if (!OBJECT_FOLDER.test(folder)) continue;
      const path = `${objects}/${folder}`;
      const detached: [file: string, stats: Stats][] = [];
      for (const file of namesIn(path)) {
        const extension = NAME.exec(file)?.[1];
        const type = extension === undefined ? undefined : types.get(extension);
        const stats = o.isParent ? null : lstatSync(`${path}/${file}`, { throwIfNoEntry: false });
        if (stats === undefined) continue; // gone
        if (stats && o.counted && !o.counted.add(stats)) {
          this.counted.bytes += stats.size;
          this.counted.allocated += stats.blocks * BLOCK_BYTES;
        }
        if (type) this.#addObject(type, folder, file, stats);
        else if (stats && extension === 'commitmeta') detached.push([file, stats]);
        else if (stats?.isFile()) this.#addOther(stats);
        await pause();
      }
      for (const [file, stats] of detached) this.#addDetached(folder + file.slice(0, 62), stats);
    }
  }

  #addObject(type: StoredType, folder: string, file: string, stats: Stats | null): void {
    const kind = this.#kinds[type];
    if (!kind.checksums.addNamed(folder, file)) return;
    kind.bytes.push(stats?.size ?? 0);
    kind.allocated.push((stats?.blocks ?? 0) * BLOCK_BYTES);
    kind.marks.push(stats ? HERE + (stats.nlink > 1 ? LINKED : 0) : 0);
  }

  /** A commit's signatures and the like are counted to its object. */
  #addDetached(commit: Checksum, stats: Stats): void {
    const { checksums, bytes, allocated } = this.#kinds.commit;
    const number = checksums.numberOf(commit);
    if (number < 0) this.#addOther(stats);
    else {
      bytes.addTo(number, stats.size);
      allocated.addTo(number, stats.blocks * BLOCK_BYTES);
    }
  }

  #addOther({ size, blocks }: Stats): void {
    this.other.files++;
    this.other.bytes += size;
    this.other.allocated += blocks * BLOCK_BYTES;
  }

  /** Number of an object; -1 when it is nowhere. */
  numberOf(type: StoredType, checksum: Checksum): number {
    const number = this.#kinds[type].checksums.numberOf(checksum);
    return number < 0 ? -1 : this.#bases[type] + number;
  }

  /** The same for a checksum of which the 32 bytes are at `at`. */
  numberOfBytes(type: StoredType, data: Buffer, at: number): number {
    const number = this.#kinds[type].checksums.numberOfBytes(data, at);
    return number < 0 ? -1 : this.#bases[type] + number;
  }

  /** Adds what an object takes to an amount; nothing when it is in a parent repository. */
  addTo(amount: Amount, number: number): void {
    const type = this.#typeOf(number);
    const { bytes, allocated, marks } = this.#kinds[type];
    const index = number - this.#bases[type];
    const mark = marks.at(index);
    if (mark === 0) return;
    amount.objects++;
    amount.bytes += bytes.at(index);
    amount.allocated += allocated.at(index);
    if (mark & LINKED) amount.linked += bytes.at(index);
  }

  #typeOf(number: number): StoredType {
    const bases = this.#bases;
    if (number >= bases.file) return 'file';
    if (number >= bases.dirmeta) return 'dirmeta';
    return number >= bases.dirtree ? 'dirtree' : 'commit';
  }
}

function namesIn(path: string): string[] {
  try {
    return readdirSync(path);
  } catch (error) {
    const code = systemCode(error);
    if (code === 'ENOENT' || code === 'ENOTDIR') return [];
    throw error;
  }
}
