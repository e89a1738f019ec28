import { S_IFDIR, S_IFMT } from '../formats/mode.ts';
import type { Checksum } from '../formats/object-name.ts';
import { pathCalls } from '../fs/path-calls.ts';
import { type FolderRecord, STAMP_BYTES } from './folder-index.ts';

/**
 * Looks whether all that a record tells of is still as the record has it. Most commits change little of a tree of tens
 * of thousands of files: for each of them no more is done than to ask the system and to compare numbers.
 *
 * Only for what is stored with its own owner and mode, and for a folder which itself is what it was: what it has more
 * of than the record is not seen.
 */
export type EntryCheck = (folder: string, record: FolderRecord) => boolean;

/** Linux takes no longer path. */
const PATH_BYTES = 4096;
/** Type, mode, uid, gid, mtime, ctime, ino, size. */
const WANTED = 0x2 | 0x1 | 0x8 | 0x10 | 0x40 | 0x80 | 0x100 | 0x200;

/** Null where the system call cannot be called. */
export function entryCheck(): EntryCheck | null {
  const calls = pathCalls();
  if (!calls) return null;
  const path = Buffer.alloc(2 * PATH_BYTES);
  // struct statx
  const stat = Buffer.alloc(256);
  const now = new DataView(stat.buffer, stat.byteOffset, stat.length);
  const milliseconds = (at: number) =>
    // As Node has it, so that stamps are the same numbers.
    (now.getInt32(at + 4, true) * 0x100000000 + now.getUint32(at, true)) * 1000 + now.getUint32(at + 8, true) / 1e6;
  const device = () => {
    const [major, minor] = [now.getUint32(136, true), now.getUint32(140, true)];
    // gnu_dev_makedev
    return (minor & 0xff) + (major & 0xfff) * 0x100 + (minor >>> 8) * 0x100000 + (major >>> 12) * 2 ** 44;
  };
  const long = (at: number) => now.getUint32(at + 4, true) * 0x100000000 + now.getUint32(at, true);
  return (folder, { names, stamps }) => {
    if (Buffer.byteLength(folder) >= PATH_BYTES) return false;
    const prefix = path.write(folder === '/' ? '/' : `${folder}/`);
    const before = new DataView(stamps.buffer, stamps.byteOffset, stamps.length);
    for (let at = 0, start = 0; at < stamps.length; at += STAMP_BYTES) {
      const end = names.indexOf(0, start) + 1;
      if (end - start > 256) return false;
      names.copy(path, prefix, start, end);
      start = end;
      if (calls.statx(path, stat, WANTED) !== 0) return false;
      if ((now.getUint32(0, true) & WANTED) !== WANTED) return false;
      const same =
        before.getFloat64(at, true) === device() &&
        before.getFloat64(at + 8, true) === long(32) &&
        before.getFloat64(at + 16, true) === long(40) &&
        before.getFloat64(at + 24, true) === milliseconds(112) &&
        before.getFloat64(at + 32, true) === milliseconds(96) &&
        before.getFloat64(at + 40, true) === now.getUint32(20, true) &&
        before.getFloat64(at + 48, true) === now.getUint32(24, true) &&
        before.getFloat64(at + 56, true) === now.getUint16(28, true);
      if (!same) return false;
    }
    return true;
  };
}

/** An entry of a record. Names and checksums are only made where they are asked for. */
export interface RecordedEntry {
  isFolder: boolean;
  /** Bytes of a file. */
  size: number;
  name(): string;
  /** A file's, or that of a folder's dirmeta. */
  checksum(): Checksum;
}

/** Calls back for each entry of a record. */
export function eachRecorded({ names, stamps, checksums }: FolderRecord, use: (entry: RecordedEntry) => void): void {
  const before = new DataView(stamps.buffer, stamps.byteOffset, stamps.length);
  for (let index = 0, start = 0; index * STAMP_BYTES < stamps.length; index++) {
    const [from, end] = [start, names.indexOf(0, start)];
    start = end + 1;
    use({
      isFolder: (before.getFloat64(index * STAMP_BYTES + 56, true) & S_IFMT) === S_IFDIR,
      size: before.getFloat64(index * STAMP_BYTES + 16, true),
      name: () => names.toString('utf8', from, end),
      checksum: () => checksums.toString('hex', 32 * index, 32 * index + 32),
    });
  }
}
