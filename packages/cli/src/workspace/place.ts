import { chmod, mkdtemp, readdir, rename, rm, rmdir } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';

/** Makes a folder beside its place and renames it: what was interrupted leaves no folder that looks whole. */
export async function intoPlace<T>(folder: string, make: (to: string) => Promise<T>): Promise<T> {
  const temporary = await mkdtemp(join(dirname(folder), `.${basename(folder)}.`));
  try {
    const result = await make(join(temporary, 'tree'));
    await rmdir(folder).catch(() => {});
    await rename(join(temporary, 'tree'), folder);
    return result;
  } finally {
    await removeTree(temporary);
  }
}

/** Removes a tree in which folders may be read-only. */
export async function removeTree(path: string): Promise<void> {
  await rm(path, { recursive: true, force: true }).catch(async () => {
    for (const entry of await readdir(path, { withFileTypes: true, recursive: true })) {
      if (entry.isDirectory()) await chmod(join(entry.parentPath, entry.name), 0o700);
    }
    await rm(path, { recursive: true, force: true });
  });
}
