import { execFile } from 'node:child_process';
import { constants, copyFile, mkdir, mkdtemp, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);

/**
 * A disk of which there can be copies as a loss of power would leave it: an ext4 file system in a file, mounted through a
 * loop device, on a file system that clones a file in one step between two writes of the device. What was not yet
 * written out is not in the copy, and its journal has to be replayed.
 */
export interface TestDisk {
  /** Where it is mounted. */
  folder: string;
  /** Whether anything has been written to the device since the last copy. */
  hasChanged(): Promise<boolean>;
  /** A copy of this moment: its number. */
  copy(): Promise<number>;
  /** Throws a copy away. */
  drop(number: number): Promise<void>;
  /** Mounts a copy, lends its folder, and throws both away. */
  withCopy<T>(number: number, use: (folder: string) => Promise<T>): Promise<T>;
  close(): Promise<void>;
}

/** @throws what is missing on this machine: root, loop devices, xfs */
export async function createTestDisk(o: { megabytes: number; copies: number }): Promise<TestDisk> {
  const base = await mkdtemp('/dev/shm/treeline-disk-');
  const host = join(base, 'host');
  const folder = join(base, 'disk');
  const undo: (() => Promise<unknown>)[] = [() => rm(base, { recursive: true, force: true })];
  const close = async () => {
    for (const step of undo.reverse()) await step();
  };
  try {
    await mkdir(host);
    await mkdir(folder);
    const size = Math.max(512, o.megabytes * 4 + o.copies * 4);
    await run('truncate', ['-s', `${size}M`, join(base, 'host.img')]);
    await run('mkfs.xfs', ['-q', '-m', 'reflink=1', join(base, 'host.img')]);
    await run('mount', ['-o', 'loop', join(base, 'host.img'), host]);
    undo.push(() => run('umount', ['-l', host]));
    const image = join(host, 'disk.img');
    await run('truncate', ['-s', `${o.megabytes}M`, image]);
    await run('mkfs.ext4', ['-q', '-F', '-J', 'size=4', image]);
    const device = (await run('losetup', ['--find', '--show', image])).stdout.trim();
    undo.push(() => run('losetup', ['-d', device]));
    // A short interval of the journal: more different moments.
    await run('mount', ['-o', 'commit=1', device, folder]);
    undo.push(() => run('umount', ['-l', folder]));
    const statistics = join('/sys/block', device.replace('/dev/', ''), 'stat');
    // Requests and sectors written (Documentation/block/stat.rst).
    const written = async () => (await readFile(statistics, 'utf8')).trim().split(/\s+/).slice(4, 7).join(' ');
    const state = { copies: 0, written: '' };
    return {
      folder,
      hasChanged: async () => (await written()) !== state.written,
      async copy() {
        state.written = await written();
        const number = ++state.copies;
        await copyFile(image, join(host, `copy-${number}.img`), constants.COPYFILE_FICLONE_FORCE);
        return number;
      },
      drop: (number) => rm(join(host, `copy-${number}.img`)),
      async withCopy(number, use) {
        const at = join(base, `copy-${number}`);
        const copy = join(host, `copy-${number}.img`);
        await mkdir(at);
        await run('mount', ['-o', 'loop', copy, at]);
        try {
          return await use(at);
        } finally {
          await run('umount', [at]).catch(() => run('umount', ['-l', at]));
          await rm(copy, { force: true });
        }
      },
      close,
    };
  } catch (error) {
    await close();
    throw error;
  }
}
