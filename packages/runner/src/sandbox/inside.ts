import { constants } from 'node:fs';
import { lstat, open } from 'node:fs/promises';
import { join } from 'node:path';

/**
 * What is at a path below a folder that a job or an image made. Symlinks are never followed, at no component: they may
 * lead anywhere on this machine. `blocked` means that a component on the way is no folder.
 */
export async function kindInside(
  root: string,
  path: string,
): Promise<'dir' | 'file' | 'symlink' | 'other' | 'none' | 'blocked'> {
  const parts = path.split('/').filter((part) => part !== '' && part !== '.');
  let at = root;
  for (const [index, part] of parts.entries()) {
    at = join(at, part);
    const stats = await lstat(at).catch((error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOENT' || error.code === 'ENOTDIR') return null;
      throw error;
    });
    if (!stats) return 'none';
    if (stats.isDirectory()) continue;
    if (index < parts.length - 1) return 'blocked';
    if (stats.isFile()) return 'file';
    return stats.isSymbolicLink() ? 'symlink' : 'other';
  }
  return 'dir';
}

/** Text of a file below a folder, or null when there is no such file without following symlinks. */
export async function readInside(root: string, path: string): Promise<string | null> {
  if ((await kindInside(root, path)) !== 'file') return null;
  const file = await open(join(root, path), constants.O_RDONLY | constants.O_NOFOLLOW).catch(() => null);
  if (!file) return null;
  try {
    return await file.readFile('utf8');
  } finally {
    await file.close();
  }
}
