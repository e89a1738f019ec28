import { fsyncSync } from 'node:fs';
import { createRequire } from 'node:module';
import { OstreeError } from '../errors.ts';

/**
 * The few system calls that OSTree needs and Node does not offer: extended attributes, syncfs, and the
 * open-file-description locks by which libostree keeps its processes apart. Called through koffi on Linux;
 * elsewhere files have no extended attributes and a sync falls back to fsync.
 */
interface Libc {
  llistxattr(path: Buffer, list: Buffer | null, size: number): number;
  lgetxattr(path: Buffer, name: Buffer, value: Buffer | null, size: number): number;
  lsetxattr(path: Buffer, name: Buffer, value: Buffer, size: number, flags: number): number;
  syncfs(fd: number): number;
  fcntl(fd: number, command: number, lock: Buffer): number;
  flock(fd: number, operation: number): number;
  errno(): number;
}

const ENOENT = 2;
const ENODATA = 61;
const ERANGE = 34;
const ENOTSUP = 95;
const EAGAIN = 11;
const EACCES = 13;
const F_OFD_SETLK = 37;
const F_RDLCK = 0;
const F_WRLCK = 1;
const F_UNLCK = 2;

let loaded: Libc | null | undefined;

function libc(): Libc | null {
  if (loaded !== undefined) return loaded;
  if (process.platform !== 'linux') {
    loaded = null;
    return loaded;
  }
  const koffi = createRequire(import.meta.url)('koffi') as typeof import('koffi');
  let library: ReturnType<typeof koffi.load>;
  try {
    library = koffi.load('libc.so.6');
  } catch {
    library = koffi.load('libc.so'); // musl
  }
  loaded = {
    llistxattr: library.func('int64_t llistxattr(void *path, void *list, uint64_t size)'),
    lgetxattr: library.func('int64_t lgetxattr(void *path, void *name, void *value, uint64_t size)'),
    lsetxattr: library.func('int lsetxattr(void *path, void *name, void *value, uint64_t size, int flags)'),
    syncfs: library.func('int syncfs(int fd)'),
    fcntl: library.func('int fcntl(int fd, int command, void *lock)'),
    flock: library.func('int flock(int fd, int operation)'),
    errno: () => koffi.errno(),
  };
  return loaded;
}

function cString(text: string): Buffer {
  return Buffer.from(`${text}\0`);
}

/** An extended attribute: its name without a final NUL, and its value. */
export type Xattr = [name: Uint8Array, value: Uint8Array];

const names = Buffer.alloc(65536);

/** The extended attributes of a path, of a symlink itself too, sorted by name as OSTree stores them. */
export function readXattrs(path: string): Xattr[] {
  const c = libc();
  if (!c) return [];
  const cPath = cString(path);
  const length = c.llistxattr(cPath, names, names.length);
  if (length === 0) return [];
  if (length < 0) {
    const code = c.errno();
    if (code === ENOTSUP) return [];
    throw new OstreeError('io', `cannot list the extended attributes of ${path} (errno ${code})`);
  }
  const result: Xattr[] = [];
  for (let start = 0; start < length; ) {
    const end = names.indexOf(0, start);
    const name = Buffer.from(names.subarray(start, end));
    start = end + 1;
    const value = readXattr(c, path, cPath, name);
    if (value) result.push([name, value]);
  }
  return result.sort((a, b) => Buffer.compare(a[0], b[0]));
}

function readXattr(c: Libc, path: string, cPath: Buffer, name: Buffer): Buffer | undefined {
  const cName = Buffer.concat([name, Buffer.alloc(1)]);
  for (;;) {
    const size = c.lgetxattr(cPath, cName, null, 0);
    const value = Buffer.alloc(Math.max(size, 1));
    const read = size < 0 ? size : c.lgetxattr(cPath, cName, value, value.length);
    if (read >= 0) return value.subarray(0, read);
    const code = c.errno();
    if (code === ENODATA) return undefined; // removed between the two calls
    if (code !== ERANGE) throw new OstreeError('io', `cannot read ${name} of ${path} (errno ${code})`);
  }
}

/** One extended attribute of a path, or undefined where it has none of that name. */
export function readOneXattr(path: string, name: string): Buffer | undefined {
  const c = libc();
  if (!c) return undefined;
  const length = c.lgetxattr(cString(path), cString(name), names, names.length);
  if (length >= 0) return Buffer.from(names.subarray(0, length));
  const code = c.errno();
  if (code === ENODATA || code === ENOTSUP) return undefined;
  if (code === ENOENT)
    throw Object.assign(new OstreeError('io', `${path}: no such file`), { cause: { code: 'ENOENT' } });
  throw new OstreeError('io', `cannot read ${name} of ${path} (errno ${code})`);
}

/** Sets extended attributes on a path, on a symlink itself too. */
export function writeXattrs(path: string, xattrs: readonly Xattr[]): void {
  if (xattrs.length === 0) return;
  const c = libc();
  if (!c) throw new OstreeError('unsupported', `${path}: extended attributes need Linux`);
  const cPath = cString(path);
  for (const [name, value] of xattrs) {
    const data = Buffer.from(value);
    if (c.lsetxattr(cPath, Buffer.concat([name, Buffer.alloc(1)]), data, data.length, 0) !== 0) {
      throw new OstreeError('io', `cannot set ${Buffer.from(name)} on ${path} (errno ${c.errno()})`);
    }
  }
}

/** Flushes the whole file system that an open file belongs to; plain fsync of that file where there is no syncfs. */
export function syncFilesystem(fd: number): void {
  const c = libc();
  if (!c) fsyncSync(fd);
  else if (c.syncfs(fd) !== 0) throw new OstreeError('io', `syncfs failed (errno ${c.errno()})`);
}

/** True where one syncfs makes any number of files durable. */
export function hasSyncFilesystem(): boolean {
  return libc() !== null;
}

/**
 * Tries to take or drop an open-file-description lock over a whole file, as libostree does on a repository's
 * `.lock` (`ostree_repo_lock_push`). False when another process holds a conflicting one.
 */
export function tryFileLock(fd: number, kind: 'shared' | 'exclusive' | 'none'): boolean {
  const c = libc();
  if (!c) return true;
  // struct flock, 64-bit Linux: short l_type, short l_whence, pad, off_t l_start, off_t l_len, pid_t l_pid
  const lock = Buffer.alloc(32);
  lock.writeInt16LE(kind === 'shared' ? F_RDLCK : kind === 'exclusive' ? F_WRLCK : F_UNLCK, 0);
  if (c.fcntl(fd, F_OFD_SETLK, lock) === 0) return true;
  const code = c.errno();
  if (code === EAGAIN || code === EACCES) return false;
  throw new OstreeError('io', `cannot lock (errno ${code})`);
}

/** Takes a flock(2) lock for as long as the file is open; false when somebody else has it. Released by kill -9. */
export function tryHold(fd: number): boolean {
  const c = libc();
  return c === null || c.flock(fd, 2 | 4) === 0;
}
