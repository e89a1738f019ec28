import { OstreeError } from '../errors.ts';
import type { Checksum } from './object-name.ts';

/** An entry of a dirtree: a name, and a file's checksum or a folder's two. */
export interface DirTreeEntry {
  name: string;
  checksums: readonly Checksum[];
}

const CHECKSUM_BYTES = 32;

/**
 * Serialises a dirtree, `(a(say)a(sayay))`, into one buffer: as the general encoder does, without a buffer for each part.
 * A commit of a system writes thousands, some with thousands of entries.
 *
 * @param files sorted, and so are `dirs`
 * @throws OstreeError `invalid` for what is no checksum
 */
export function writeDirTree(files: readonly DirTreeEntry[], dirs: readonly DirTreeEntry[]): Buffer {
  const lists = [layOut(files), layOut(dirs)] as const;
  const body = lists[0].length + lists[1].length;
  const width = offsetWidth(body, 1);
  const buffer = Buffer.allocUnsafe(body + width);
  writeList(buffer, 0, lists[0]);
  writeList(buffer, lists[0].length, lists[1]);
  buffer.writeUIntLE(lists[0].length, body, width);
  return buffer;
}

interface Layout {
  entries: readonly DirTreeEntry[];
  /** Bytes of each entry's name. */
  names: number[];
  /** Bytes of each entry's framing offsets. */
  widths: number[];
  /** Bytes of all entries, without the framing offsets of the list. */
  body: number;
  width: number;
  length: number;
}

function layOut(entries: readonly DirTreeEntry[]): Layout {
  const names: number[] = [];
  const widths: number[] = [];
  let body = 0;
  for (const { name, checksums } of entries) {
    const bytes = Buffer.byteLength(name);
    const item = bytes + 1 + checksums.length * CHECKSUM_BYTES;
    const width = offsetWidth(item, checksums.length);
    names.push(bytes);
    widths.push(width);
    body += item + checksums.length * width;
  }
  const width = offsetWidth(body, entries.length);
  return { entries, names, widths, body, width, length: body + entries.length * width };
}

function writeList(buffer: Buffer, start: number, { entries, names, widths, body, width }: Layout): void {
  let at = start;
  for (const [index, { name, checksums }] of entries.entries()) {
    const begin = at;
    at += buffer.write(name, at, names[index]!);
    buffer[at++] = 0;
    const nameEnd = at - begin;
    for (const checksum of checksums) {
      if (
        checksum.length !== 2 * CHECKSUM_BYTES ||
        buffer.write(checksum, at, CHECKSUM_BYTES, 'hex') !== CHECKSUM_BYTES
      )
        throw new OstreeError('invalid', `${JSON.stringify(name)}: ${JSON.stringify(checksum)} is no checksum`);
      at += CHECKSUM_BYTES;
    }
    // Of all but the last member where it ends, in reverse.
    for (let member = checksums.length - 1; member >= 0; member--) {
      buffer.writeUIntLE(nameEnd + member * CHECKSUM_BYTES, at, widths[index]!);
      at += widths[index]!;
    }
    buffer.writeUIntLE(at - start, start + body + index * width, width);
  }
}

/** Bytes of each of `count` framing offsets behind so many bytes: they count for the length that decides it. */
function offsetWidth(body: number, count: number): 1 | 2 | 4 {
  if (body + count <= 0xff) return 1;
  return body + 2 * count <= 0xffff ? 2 : 4;
}
