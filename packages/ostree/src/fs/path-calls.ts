import { createRequire } from 'node:module';

/**
 * System calls on paths, for who makes tens of thousands of them: as Node offers them, what is around a call takes
 * longer than the call. Paths and names end with a NUL. Linux only.
 */
export interface PathCalls {
  /** Bytes read into `value`, or -1. */
  lgetxattr(path: Buffer, name: Buffer, value: Buffer, size: number): number;
  /** 0, or -1. */
  link(from: Buffer, to: Buffer): number;
  /** Fills a `struct statx` with what is said of a path, of a symlink itself: 0, or -1. */
  statx(path: Buffer, stat: Buffer, mask: number): number;
}

const AT_FDCWD = -100;
const AT_SYMLINK_NOFOLLOW = 0x100;

let loaded: PathCalls | null | undefined;

/** Null where they cannot be called. */
export function pathCalls(): PathCalls | null {
  if (loaded !== undefined) return loaded;
  loaded = null;
  if (process.platform !== 'linux') return loaded;
  const koffi = createRequire(import.meta.url)('koffi') as typeof import('koffi');
  let library: ReturnType<typeof koffi.load>;
  try {
    library = koffi.load('libc.so.6');
  } catch {
    library = koffi.load('libc.so'); // musl
  }
  const statx = library.func('int statx(int folder, void *path, int flags, uint32_t mask, void *stat)');
  loaded = {
    // It returns 64 bits; no value that is read here is longer than 32 can say.
    lgetxattr: library.func('int lgetxattr(void *path, void *name, void *value, uint64_t size)'),
    link: library.func('int link(void *from, void *to)'),
    statx: (path, stat, mask) => statx(AT_FDCWD, path, AT_SYMLINK_NOFOLLOW, mask, stat) as number,
  };
  return loaded;
}
