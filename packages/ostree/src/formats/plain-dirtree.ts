import type { DirTree } from './dirtree.ts';
import type { Checksum, Tree } from './object-name.ts';

const CHECKSUM_BYTES = 32;
/** Bytes of checksums in an entry: of a file its content; of a folder its contents and its metadata. */
export const FILE_CHECKSUMS = CHECKSUM_BYTES;
export const DIR_CHECKSUMS = 2 * CHECKSUM_BYTES;

/**
 * Reads a dirtree whose names are all ASCII in one go: a walk over a system reads thousands of them. Null for every
 * other, and for everything that is not as it should be: that is for the strict decoder to read, or to refuse by name.
 * Accepts nothing that the strict one refuses.
 */
export function plainDirTree(data: Uint8Array): DirTree | null {
  const buffer = Buffer.from(data.buffer, data.byteOffset, data.byteLength);
  const lists = entryLists(buffer);
  if (lists === null) return null;
  const tree: DirTree = { files: new Map(), dirs: new Map() };
  const files = eachEntry(buffer, lists.files, FILE_CHECKSUMS, (name, at) => {
    tree.files.set(name, checksumAt(buffer, at));
    return true;
  });
  if (!files) return null;
  const dirs = eachEntry(buffer, lists.dirs, DIR_CHECKSUMS, (name, at) => {
    if (tree.files.has(name)) return false;
    tree.dirs.set(name, treeAt(buffer, at));
    return true;
  });
  return dirs ? tree : null;
}

/** Where a dirtree's two lists are; null: not as it should be. */
export function entryLists(buffer: Buffer): { files: Range; dirs: Range } | null {
  const width = offsetWidth(buffer.length);
  const body = buffer.length - width;
  if (body < 0 || !isNeeded(width, body, 1)) return null;
  const split = buffer.readUIntLE(body, width);
  return split > body ? null : { files: { start: 0, end: split }, dirs: { start: split, end: body } };
}

export function checksumAt(buffer: Buffer, at: number): Checksum {
  return buffer.toString('hex', at, at + CHECKSUM_BYTES);
}

export function treeAt(buffer: Buffer, at: number): Tree {
  return { contents: checksumAt(buffer, at), meta: checksumAt(buffer, at + CHECKSUM_BYTES) };
}

/**
 * Goes through an array of `(say)` or `(sayay)` whose byte strings are `checksums` bytes together. False as soon as
 * something is not as expected.
 */
function eachEntry(
  buffer: Buffer,
  range: Range,
  checksums: number,
  use: (name: string, checksumAt: number) => boolean,
): boolean {
  if (range.start === range.end) return true;
  const list = entryList(buffer, range);
  if (list === null) return false;
  let previous: Range | null = null;
  let at = range.start;
  for (let index = 0; index < list.count; index++) {
    const end = entryEnd(buffer, list, index);
    const name = entryName(buffer, { start: at, end }, checksums);
    if (name === null || end > list.bodyEnd || (previous !== null && !isBefore(buffer, previous, name))) return false;
    if (!use(buffer.toString('latin1', name.start, name.end), name.end + 1)) return false;
    previous = name;
    at = end;
  }
  return at === list.bodyEnd;
}

/** Bytes of a buffer, from `start` up to `end`. */
export interface Range {
  start: number;
  end: number;
}

/** An array of entries that is not empty: entries up to `bodyEnd`, then where each of them ends. */
export interface EntryList {
  start: number;
  bodyEnd: number;
  /** Bytes of each framing offset. */
  width: 1 | 2 | 4;
  count: number;
}

/** Null: not as it should be. */
export function entryList(buffer: Buffer, { start, end }: Range): EntryList | null {
  const length = end - start;
  const width = offsetWidth(length);
  if (length < width) return null;
  const last = buffer.readUIntLE(end - width, width);
  const count = (length - last) / width;
  if (last > length || count < 1 || !Number.isInteger(count) || !isNeeded(width, last, count)) return null;
  return { start, bodyEnd: start + last, width, count };
}

/** Where an entry ends, as its list says. */
export function entryEnd(buffer: Buffer, { start, bodyEnd, width }: EntryList, index: number): number {
  return start + buffer.readUIntLE(bodyEnd + index * width, width);
}

/** Where an entry's name is; its checksums come after the NUL at the end of it. Null: not a plain entry. */
export function entryName(buffer: Buffer, { start, end }: Range, checksums: number): Range | null {
  const length = end - start;
  // Longer ones, with wider framing offsets, have no name that a file system takes.
  if (length > 0xffff) return null;
  const width = offsetWidth(length);
  const framing = checksums / CHECKSUM_BYTES;
  const body = length - framing * width;
  const nameEnd = start + body - checksums;
  if (nameEnd <= start + 1 || end > buffer.length || !isNeeded(width, body, framing)) return null;
  // Framing offsets stand in reverse: the end of the name is the last of them.
  if (buffer.readUIntLE(end - width, width) !== nameEnd - start) return null;
  if (framing === 2 && buffer.readUIntLE(end - 2 * width, width) !== nameEnd - start + CHECKSUM_BYTES) return null;
  const name = { start, end: nameEnd - 1 };
  return isPlainName(buffer, name) ? name : null;
}

/** Whether a name and the NUL after it are ASCII without slash and NUL, and neither `.` nor `..`. */
function isPlainName(buffer: Buffer, { start, end }: { start: number; end: number }): boolean {
  for (let at = start; at < end; at++) {
    const byte = buffer[at]!;
    if (byte === 0 || byte === SLASH || byte > 0x7f) return false;
  }
  if (buffer[end] !== 0) return false;
  return !(buffer[start] === DOT && (end === start + 1 || (end === start + 2 && buffer[start + 1] === DOT)));
}

const SLASH = 0x2f;
const DOT = 0x2e;

export function isBefore(buffer: Buffer, a: Range, b: Range): boolean {
  const length = Math.min(a.end - a.start, b.end - b.start);
  for (let index = 0; index < length; index++) {
    const difference = buffer[a.start + index]! - buffer[b.start + index]!;
    if (difference !== 0) return difference < 0;
  }
  return a.end - a.start < b.end - b.start;
}

/** Bytes of each framing offset in a container of a length. */
function offsetWidth(length: number): 1 | 2 | 4 {
  return length <= 0xff ? 1 : length <= 0xffff ? 2 : 4;
}

/** Whether framing offsets of a width are no wider than what they frame needs. */
function isNeeded(width: 1 | 2 | 4, body: number, count: number): boolean {
  if (width === 1) return true;
  const narrower = width / 2;
  return body + count * narrower > 2 ** (8 * narrower) - 1;
}
