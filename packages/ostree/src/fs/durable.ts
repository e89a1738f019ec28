import { randomBytes } from 'node:crypto';
import { mkdir, open, rename, unlink } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';

/** What the written file is like. */
export interface DurableWriteOptions {
  /** Permission bits of the file. Default 0o644. */
  mode?: number;
}

/** Flushes a folder's entries: a rename or a new file in it survives power loss only after this. */
export async function syncFolder(path: string): Promise<void> {
  const handle = await open(path, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/**
 * Writes a file so that after a crash or power loss at any moment it holds either its old content or the new,
 * whole: temporary file in the same folder, fsync, rename over the target, fsync of the folder. The folder is
 * made if it is missing. When the promise resolves, the content is on disk.
 */
export async function writeFileDurably(
  path: string,
  data: string | Uint8Array,
  options: DurableWriteOptions = {},
): Promise<void> {
  const folder = dirname(path);
  await mkdir(folder, { recursive: true });
  // The leading dot keeps the file out of ref listings that run meanwhile.
  const temporary = join(folder, `.${basename(path)}.${randomBytes(6).toString('hex')}`);
  try {
    await writeFileSynced(temporary, data, options);
    await rename(temporary, path);
  } catch (error) {
    await unlink(temporary).catch(() => {});
    throw error;
  }
  await syncFolder(folder);
}

/** @internal Writes a new file whose content is on disk afterwards; its name only when its folder was flushed. */
export async function writeFileSynced(
  path: string,
  data: string | Uint8Array,
  options: DurableWriteOptions = {},
): Promise<void> {
  const handle = await open(path, 'wx', options.mode ?? 0o644);
  try {
    await handle.writeFile(data);
    await handle.chmod(options.mode ?? 0o644); // whatever the umask
    await handle.sync();
  } finally {
    await handle.close();
  }
}
