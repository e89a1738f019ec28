import type { DirTree } from './dirtree.ts';
import {
  checksumAt,
  DIR_CHECKSUMS,
  type EntryList,
  entryEnd,
  entryList,
  entryLists,
  entryName,
  FILE_CHECKSUMS,
  isBefore,
  type Range,
  treeAt,
} from './plain-dirtree.ts';

/**
 * Two dirtrees without the entries that both have, byte for byte: of a folder with 20,000 files one of which has changed,
 * one each. Entries that both have are compared, many at once, and not decoded.
 *
 * @param now one that has been checked: a folder with the name of a file that both have is not noticed here
 * @param before one that is known to be whole: what both have is taken to be as it should be
 * @returns null where a name is not ASCII or anything is not as it should be: that is for `decodeDirTree`
 */
export function changedEntries(now: Uint8Array, before: Uint8Array): { now: DirTree; before: DirTree } | null {
  const a = new Side(now);
  const b = new Side(before);
  if (a.lists === null || b.lists === null) return null;
  for (const kind of ['files', 'dirs'] as const) {
    if (!a.open(kind) || !b.open(kind)) return null;
    while (!a.isAtEnd && !b.isAtEnd) {
      skipSame(a, b);
      if (a.isAtEnd || b.isAtEnd) break;
      const order = compareNames(a, b);
      if (order === null) return null;
      if (order <= 0 && !a.take()) return null;
      if (order >= 0 && !b.take()) return null;
    }
    if (!a.takeRest() || !b.takeRest()) return null;
  }
  return { now: a.tree, before: b.tree };
}

/** One of two dirtrees, and how far it was looked at. */
class Side {
  readonly buffer: Buffer;
  readonly lists: { files: Range; dirs: Range } | null;
  readonly tree: DirTree = { files: new Map(), dirs: new Map() };
  #kind: 'files' | 'dirs' = 'files';
  /** Null: it has no entries. */
  #list: EntryList | null = null;
  /** The next entry, and where it begins. */
  index = 0;
  start = 0;
  /** Where the one before it begins. */
  #before: number | null = null;

  constructor(data: Uint8Array) {
    this.buffer = Buffer.from(data.buffer, data.byteOffset, data.byteLength);
    this.lists = entryLists(this.buffer);
  }

  /** Begins with one of the two lists. */
  open(kind: 'files' | 'dirs'): boolean {
    const range = this.lists![kind];
    this.#kind = kind;
    this.#list = null;
    this.index = 0;
    this.start = range.start;
    this.#before = null;
    if (range.start === range.end) return true;
    this.#list = entryList(this.buffer, range);
    return this.#list !== null;
  }

  get isAtEnd(): boolean {
    return this.left === 0;
  }

  /** Entries that were not looked at. */
  get left(): number {
    return this.#list === null ? 0 : this.#list.count - this.index;
  }

  /** Where the entry ends that is so many after the next one. */
  endOf(offset: number): number {
    return entryEnd(this.buffer, this.#list!, this.index + offset);
  }

  /** Whether the next entries end where entries can. */
  isInside(entries: number): boolean {
    return this.endOf(entries - 1) <= this.#list!.bodyEnd;
  }

  skip(entries: number): void {
    if (entries === 0) return;
    this.#before = entries === 1 ? this.start : this.endOf(entries - 2);
    this.start = this.endOf(entries - 1);
    this.index += entries;
  }

  get checksums(): number {
    return this.#kind === 'files' ? FILE_CHECKSUMS : DIR_CHECKSUMS;
  }

  /** Where the name of the next entry is; null: it is not plain, or not after the one before. */
  name(): Range | null {
    const { buffer, checksums, start } = this;
    const end = this.endOf(0);
    const name = end > this.#list!.bodyEnd ? null : entryName(buffer, { start, end }, checksums);
    if (name === null || this.#before === null) return name;
    const before = entryName(buffer, { start: this.#before, end: start }, checksums);
    return before !== null && isBefore(buffer, before, name) ? name : null;
  }

  /** Decodes the next entry. */
  take(): boolean {
    const name = this.name();
    if (name === null) return false;
    const text = this.buffer.toString('latin1', name.start, name.end);
    if (this.#kind === 'files') this.tree.files.set(text, checksumAt(this.buffer, name.end + 1));
    else if (this.tree.files.has(text)) return false;
    else this.tree.dirs.set(text, treeAt(this.buffer, name.end + 1));
    this.skip(1);
    return true;
  }

  takeRest(): boolean {
    while (!this.isAtEnd) if (!this.take()) return false;
    return this.#list === null || this.start === this.#list.bodyEnd;
  }
}

/** Passes over what both have next, twice as many at a time as before. */
function skipSame(a: Side, b: Side): void {
  for (let step = 1; step > 0; ) {
    const most = Math.min(step, a.left, b.left);
    const same = areSame(a, b, most) ? most : 0;
    a.skip(same);
    b.skip(same);
    if (most === 0) return;
    step = same > 0 ? step * 2 : Math.floor(most / 2);
  }
}

function areSame(a: Side, b: Side, entries: number): boolean {
  for (let index = 0; index < entries; index++) {
    if (a.endOf(index) - a.start !== b.endOf(index) - b.start) return false;
  }
  if (entries === 0 || !a.isInside(entries) || !b.isInside(entries)) return false;
  return a.buffer.compare(b.buffer, b.start, b.endOf(entries - 1), a.start, a.endOf(entries - 1)) === 0;
}

/** Of the next entries; null: one is not plain. */
function compareNames(a: Side, b: Side): number | null {
  const [one, other] = [a.name(), b.name()];
  if (one === null || other === null) return null;
  return a.buffer.compare(b.buffer, other.start, other.end, one.start, one.end);
}
