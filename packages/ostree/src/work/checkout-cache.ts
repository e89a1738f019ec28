import { randomBytes } from 'node:crypto';
import { linkSync, lstatSync, mkdirSync, renameSync, rmSync, type Stats } from 'node:fs';
import { dirname, join } from 'node:path';
import { systemCode } from '../errors.ts';
import { type Checksum, loosePath } from '../formats/object-name.ts';

/**
 * Where an archive repository keeps unpacked copies of objects that checkouts link to. It is `ostree`'s own cache, so
 * files in it have the permissions of their objects (without setuid bits) and the caller for their owner.
 */
const FOLDER = 'uncompressed-objects-cache';

/**
 * The path of an object's unpacked copy, which is made if it is missing.
 *
 * @param write makes the copy at a path
 * @returns null where the repository cannot be written to
 */
export async function cachedCopy(
  repo: string,
  checksum: Checksum,
  write: (path: string) => Promise<unknown>,
): Promise<string | null> {
  const path = join(repo, FOLDER, loosePath(checksum, 'file'));
  if (lstatSync(path, { throwIfNoEntry: false })) return path;
  const temporary = join(repo, 'tmp', `treeline-checkout-${randomBytes(8).toString('hex')}`);
  try {
    await write(temporary);
    mkdirSync(dirname(path), { recursive: true });
    renameSync(temporary, path);
    return path;
  } catch (error) {
    rmSync(temporary, { force: true });
    const code = systemCode(error);
    if (code === 'EROFS' || code === 'EACCES' || code === 'EPERM') return null;
    throw error;
  }
}

/** Makes a hard link; false where the file system says that it cannot be one, and a copy will do. */
export function tryLink(from: string, to: string): boolean {
  try {
    linkSync(from, to);
    return true;
  } catch (error) {
    const code = systemCode(error);
    if (code === 'EXDEV' || code === 'EMLINK' || code === 'EPERM') return false;
    throw error;
  }
}

/** What an exclusive cache has of an object. */
export interface ExclusiveCopy {
  path: string;
  /** Undefined when there is no copy. */
  stats: Stats | undefined;
}

/** Looks for the unpacked copy of an object, for linkExclusively. */
export function exclusiveCopy(cache: string, checksum: Checksum): ExclusiveCopy {
  const path = `${cache}/${loosePath(checksum, 'file')}`;
  return { path, stats: lstatSync(path, { throwIfNoEntry: false }) };
}

/** What linkExclusively needs to know of an object. */
export interface ExclusiveObject {
  /** Whether a copy that lies in the cache is still what was put there. */
  isPristine(path: string, stats: Stats): Promise<boolean>;
  /** Makes a new file from the object. Throws EEXIST. */
  write(path: string): Promise<void>;
}

/**
 * Makes a file that is a hard link to the cache's unpacked copy of an object, or else a file of its own. **No copy is
 * linked to two files at once**, so that writing into one in place changes nothing elsewhere but the cache; and a copy
 * that was in use is looked through before it is used again. One that somebody wrote to is thrown away.
 *
 * @param copy in a folder of the caller's, on any file system; where it is another one than that of `to`, nothing is linked
 * @returns whether content was written
 */
export async function linkExclusively(
  { path: copy, stats }: ExclusiveCopy,
  to: string,
  object: ExclusiveObject,
): Promise<boolean> {
  if (stats?.nlink === 1) {
    const pristine = await object.isPristine(copy, stats);
    if (pristine && claim(copy, to)) return false;
    if (!pristine) rmSync(copy, { force: true });
  }
  await object.write(to);
  keepCopy(to, copy);
  return true;
}

/** Links to a copy that nobody uses; false when somebody was faster, here or in another process. */
function claim(copy: string, to: string): boolean {
  if (!tryLink(copy, to)) return false;
  // Whoever links last sees that he is not alone, so at most one keeps his link. And somebody may have been
  // here, and have written, since the copy was looked through.
  const { nlink, mtimeMs } = lstatSync(to);
  if (nlink === 2 && mtimeMs === 0) return true;
  rmSync(to);
  return false;
}

/** Puts a new file into the cache as well, unless there is one. A cache that takes nothing is only slow. */
function keepCopy(file: string, copy: string): void {
  for (const isFirst of [true, false]) {
    try {
      tryLink(file, copy);
      return;
    } catch (error) {
      const code = systemCode(error);
      if (code !== 'ENOENT' || !isFirst) {
        if (code === 'EEXIST' || code === 'EACCES' || code === 'EROFS' || code === 'ENOSPC') return;
        throw error;
      }
      mkdirSync(dirname(copy), { recursive: true, mode: 0o700 });
    }
  }
}
