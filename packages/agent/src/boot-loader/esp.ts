import { execFile } from 'node:child_process';
import { mkdir, open } from 'node:fs/promises';
import { promisify } from 'node:util';
import { AgentError, messageOf } from '../errors.ts';

const run = promisify(execFile);
const TIMEOUT = 30_000;

/** The partition that firmware and boot loader read, and the agent now and then. */
export interface SystemPartition {
  /** Does something with the partition's folder, which is there only meanwhile. */
  read<T>(use: (folder: string) => Promise<T>): Promise<T>;
  write<T>(use: (folder: string) => Promise<T>): Promise<T>;
}

/** A folder that plays the partition. */
export function folderPartition(folder: string): SystemPartition {
  const use = async <T>(work: (folder: string) => Promise<T>): Promise<T> => {
    await mkdir(folder, { recursive: true });
    return work(folder);
  };
  return { read: use, write: use };
}

/**
 * The partition itself, mounted while it is needed only: FAT has no journal, and what is not mounted for writing cannot
 * be damaged by a loss of power.
 *
 * @param source as mount takes it, for example `PARTLABEL=esp`
 */
export function mountedPartition(source: string, at: string): SystemPartition {
  let last: Promise<unknown> = Promise.resolve();
  const mounted = async <T>(mode: 'ro' | 'rw', work: (folder: string) => Promise<T>): Promise<T> => {
    await mkdir(at, { recursive: true, mode: 0o700 });
    // What a process that was killed left behind.
    await run('umount', [at], { timeout: TIMEOUT }).catch(() => {});
    const options = `${mode},sync,nosuid,nodev,noexec,umask=0077`;
    try {
      await run('mount', ['-t', 'vfat', '-o', options, source, at], { timeout: TIMEOUT });
    } catch (cause) {
      throw new AgentError(
        'deploy-failed',
        `the boot loader's partition ${source} cannot be mounted: ${messageOf(cause)}`,
        {
          hint: 'Does /usr/lib/treeline/boot.json name the right one?',
          cause,
        },
      );
    }
    try {
      return await work(at);
    } finally {
      await run('umount', [at], { timeout: TIMEOUT }).catch(() => run('umount', ['-l', at]).catch(() => {}));
    }
  };
  const inTurn = <T>(mode: 'ro' | 'rw', work: (folder: string) => Promise<T>): Promise<T> => {
    const result = last.then(() => mounted(mode, work));
    last = result.catch(() => {});
    return result;
  };
  return { read: (work) => inTurn('ro', work), write: (work) => inTurn('rw', work) };
}

/**
 * Writes over a file where it lies, to the disk when it resolves. FAT has no rename that survives a loss of power, but
 * replacing the content of sectors that a file has already changes neither its folder nor the allocation table.
 */
export async function overwrite(path: string, content: Buffer): Promise<void> {
  const file = await open(path, 'r+').catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'ENOENT') throw error;
    return open(path, 'w');
  });
  try {
    await file.write(content, 0, content.length, 0);
    if ((await file.stat()).size > content.length) await file.truncate(content.length);
    await file.sync();
  } finally {
    await file.close();
  }
}
