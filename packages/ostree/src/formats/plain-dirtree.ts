import type { DirTree } from './dirtree.ts';

const CHECKSUM_BYTES = 32;

/**
 * Reads a dirtree whose names are all ASCII in one go: a walk over a system reads thousands of them. Null for every
 * other, and for everything that is not as it should be: that is for the strict decoder to read, or to refuse by name.
 * Accepts nothing that the strict one refuses.
 */
export function plainDirTree(data: Uint8Array): DirTree | null {
  const buffer = Buffer.from(data.buffer, data.byteOffset, data.byteLength);
  const width = offsetWidth(buffer.length);
  const body = buffer.length - width;
  if (body < 0 || !isNeeded(width, body, 1)) return null;
  const split = buffer.readUIntLE(body, width);
  if (split > body) return null;
  const tree: DirTree = { files: new Map(), dirs: new Map() };
  const files = eachEntry(buffer, { start: 0, end: split }, CHECKSUM_BYTES, (name, at) => {
    tree.files.set(name, buffer.toString('hex', at, at + CHECKSUM_BYTES));
    return true;
  });
  if (!files) return null;
  const dirs = eachEntry(buffer, { start: split, end: body }, 2 * CHECKSUM_BYTES, (name, at) => {
    if (tree.files.has(name)) return false;
    const between = at + CHECKSUM_BYTES;
    const contents = buffer.toString('hex', at, between);
    tree.dirs.set(name, { contents, meta: buffer.toString('hex', between, between + CHECKSUM_BYTES) });
    return true;
  });
  return dirs ? tree : null;
}

/**
 * Goes through an array of `(say)` or `(sayay)` whose byte strings are `checksums` bytes together. False as soon as
 * something is not as expected.
 */
function eachEntry(
  buffer: Buffer,
  { start, end }: { start: number; end: number },
  checksums: number,
  use: (name: string, checksumAt: number) => boolean,
): boolean {
  const length = end - start;
  if (length === 0) return true;
  const width = offsetWidth(length);
  if (length < width) return false;
  const last = buffer.readUIntLE(end - width, width);
  const count = (length - last) / width;
  if (last > length || count < 1 || !Number.isInteger(count) || !isNeeded(width, last, count)) return false;
  let previous = { start: 0, end: 0 };
  let at = start;
  for (let index = 0; index < count; index++) {
    const itemEnd = start + buffer.readUIntLE(start + last + index * width, width);
    const itemLength = itemEnd - at;
    // Longer ones, with wider framing offsets, have no name that a file system takes.
    if (itemLength > 0xffff) return false;
    const itemWidth = offsetWidth(itemLength);
    const framing = checksums / CHECKSUM_BYTES;
    const itemBody = itemLength - framing * itemWidth;
    const nameEnd = at + itemBody - checksums;
    if (nameEnd <= at + 1 || itemEnd > start + last || !isNeeded(itemWidth, itemBody, framing)) return false;
    // Framing offsets stand in reverse: the end of the name is the last of them.
    if (buffer.readUIntLE(itemEnd - itemWidth, itemWidth) !== nameEnd - at) return false;
    if (framing === 2 && buffer.readUIntLE(itemEnd - 2 * itemWidth, itemWidth) !== nameEnd - at + CHECKSUM_BYTES) {
      return false;
    }
    const name = { start: at, end: nameEnd - 1 };
    if (!isPlainName(buffer, name) || (index > 0 && !isBefore(buffer, previous, name))) return false;
    if (!use(buffer.toString('latin1', name.start, name.end), nameEnd)) return false;
    previous = name;
    at = itemEnd;
  }
  return at === start + last;
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

function isBefore(buffer: Buffer, a: { start: number; end: number }, b: { start: number; end: number }): boolean {
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
