import { randomBytes } from 'node:crypto';
import { linkSync, lstatSync, mkdirSync, renameSync, rmSync } from 'node:fs';
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
