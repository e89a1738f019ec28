import { type FileHandle, lstat, open, readlink } from 'node:fs/promises';
import { systemCode } from '../errors.ts';

/** What can be said of a file, folder or symlink without reading it. */
export interface Entry {
  type: 'file' | 'folder' | 'symlink' | 'other';
  /** Permission bits. */
  mode: number;
  uid: number;
  gid: number;
  /** Bytes of a file; 0 of anything else. */
  size: number;
  /** Where a symlink points. */
  target: string | null;
}

/** What is at a path on disk, and when its content was last written, in seconds; null where nothing is. */
export async function readEntry(path: string): Promise<(Entry & { written: number }) | null> {
  try {
    const stats = await lstat(path);
    const type = stats.isFile()
      ? 'file'
      : stats.isDirectory()
        ? 'folder'
        : stats.isSymbolicLink()
          ? 'symlink'
          : 'other';
    return {
      type,
      mode: stats.mode & 0o7777,
      uid: stats.uid,
      gid: stats.gid,
      size: type === 'file' ? stats.size : 0,
      target: type === 'symlink' ? await readlink(path) : null,
      written: Math.floor(stats.mtimeMs / 1000),
    };
  } catch (error) {
    // What goes while it is looked at is not there; the same for a path through something that is no folder.
    if (['ENOENT', 'ENOTDIR', 'EINVAL'].includes(systemCode(error) ?? '')) return null;
    throw error;
  }
}

const PIECE = 256 * 1024;

/** Whether two files have the same bytes. They are read in pieces: a board has little memory. */
export async function sameBytes(a: string, b: string): Promise<boolean> {
  const files: FileHandle[] = [];
  try {
    for (const path of [a, b]) files.push(await open(path));
    const [left, right] = files as [FileHandle, FileHandle];
    const [one, other] = [Buffer.allocUnsafe(PIECE), Buffer.allocUnsafe(PIECE)];
    for (let at = 0; ; ) {
      const { bytesRead } = await left.read(one, 0, PIECE, at);
      const read = await right.read(other, 0, PIECE, at);
      if (bytesRead !== read.bytesRead) return false;
      if (bytesRead === 0) return true;
      if (!one.subarray(0, bytesRead).equals(other.subarray(0, bytesRead))) return false;
      at += bytesRead;
    }
  } finally {
    for (const file of files) await file.close();
  }
}
