import { readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { ROOT_LABEL } from '../boot/loader.ts';
import { run } from '../command.ts';
import { BoardError } from '../errors.ts';
import type { ImageIdentity } from './identity.ts';
import type { Range } from './partitions.ts';
import { STATEROOT } from './sysroot.ts';

/**
 * What GRUB 2.06, U-Boot and the e2fsprogs of Debian 12 can read. A newer mke2fs would turn on more by itself
 * (metadata_csum_seed, orphan_file), and the boot loader would find no file system.
 */
const FEATURES =
  'none,has_journal,ext_attr,resize_inode,dir_index,filetype,extent,64bit,flex_bg,sparse_super,large_file,huge_file,dir_nlink,extra_isize,metadata_csum';

const BLOCK = 4096;

interface Ext4Options {
  identity: ImageIdentity;
  /** Seconds, for the superblock. Files have the time 0, as in every OSTree checkout. */
  time: number;
  /** For files in between. */
  folder: string;
  signal?: AbortSignal | undefined;
}

/**
 * Makes the root file system inside of the disk image from a folder, without mounting it: mke2fs, debugfs.
 *
 * @returns what has to be on the disk although it may be zeros: all that the file system counts as used
 */
export async function makeExt4(image: string, where: Range, source: string, o: Ext4Options): Promise<Range[]> {
  const { identity, time, signal } = o;
  const env = { MKE2FS_CONFIG: '/dev/null', E2FSPROGS_FAKE_TIME: `${time}` };
  const extended = [`offset=${where.start}`, `hash_seed=${identity.hashSeed}`, 'lazy_itable_init=0', 'root_owner=0:0'];
  const flags = ['-q', '-F', '-t', 'ext4', '-O', FEATURES, '-b', `${BLOCK}`, '-I', '256', '-i', '16384', '-m', '1'];
  const names = ['-L', ROOT_LABEL, '-U', identity.rootFileSystem, '-E', extended.join(',')];
  const journal = ['-J', `size=${where.length >= 4 * 2 ** 30 ? 64 : 32}`];
  const size = `${where.length / 1024}k`;
  const args = [...flags, ...journal, ...names, '-d', source, image, size];
  await run('mke2fs', args, { env, signal, debian: 'e2fsprogs' }).catch((cause: unknown) => {
    if (!(cause instanceof BoardError) || !/allocate block|allocate inode|No space left/.test(cause.message))
      throw cause;
    throw new BoardError('invalid', `the system does not fit into ${where.length / 2 ** 20} MiB`, {
      hint: "Give the board a larger image.size: updates need room, too, about the system's size again for each.",
      cause,
    });
  });
  const name = `${image}?offset=${where.start}`;
  const used = await usedParts(name, signal);
  // Times of files are now, and mke2fs before 1.47.1 copies them; ctime cannot be set on the source.
  const commands: string[] = [];
  for (const inode of used.inodes) {
    for (const field of ['atime', 'ctime', 'mtime', 'crtime']) commands.push(`sif <${inode}> ${field} @0`);
  }
  // libostree takes a sysroot whose folder of deployments has the time 0 for one that it has read already.
  for (const path of ['/', '/boot', '/ostree', '/ostree/deploy', '/ostree/repo']) {
    commands.push(`sif ${path} mtime @${time}`);
  }
  commands.push(...(await immutable(source)));
  const script = join(o.folder, 'debugfs.commands');
  await writeFile(script, `${commands.join('\n')}\n`);
  await run('debugfs', ['-w', '-f', script, name], { env, signal, debian: 'e2fsprogs' });
  return used.blocks.map(({ start, length }) => ({ start: where.start + start * BLOCK, length: length * BLOCK }));
}

/** libostree's protection of a deployment's root: nobody makes, renames or removes anything in it by accident. */
async function immutable(source: string): Promise<string[]> {
  const deployments = join('ostree/deploy', STATEROOT, 'deploy');
  const names = await readdir(join(source, deployments), { withFileTypes: true });
  // EXT4_EXTENTS_FL with EXT4_IMMUTABLE_FL.
  return names.filter((entry) => entry.isDirectory()).map(({ name }) => `sif /${deployments}/${name} flags 0x80010`);
}

/** Inodes in use that are files, and ranges of blocks in use, as dumpe2fs lists what is free. */
async function usedParts(
  name: string,
  signal: AbortSignal | undefined,
): Promise<{ inodes: number[]; blocks: { start: number; length: number }[] }> {
  const text = await run('dumpe2fs', [name], { signal, debian: 'e2fsprogs' });
  const count = (what: string) => Number(new RegExp(`^${what}: +(\\d+)`, 'm').exec(text)?.[1] ?? 0);
  const free = (what: string) =>
    [...text.matchAll(new RegExp(`^  Free ${what}: (.+)$`, 'gm'))]
      .flatMap(([, ranges]) => (ranges ?? '').split(', '))
      .filter((range) => range.trim() !== '')
      .map((range): [number, number] => {
        const [first, last] = range.trim().split('-').map(Number);
        return [first!, last ?? first!];
      });
  const inodes: number[] = [];
  let next = 1;
  const take = (until: number) => {
    // 1 to 10 are reserved, but for the root folder; 11 is lost+found.
    for (; next < until; next++) if (next === 2 || next > 10) inodes.push(next);
  };
  for (const [first, last] of free('inodes')) {
    take(first);
    next = last + 1;
  }
  take(count('Inode count') + 1);
  const blocks: { start: number; length: number }[] = [];
  let at = 0;
  for (const [first, last] of free('blocks')) {
    if (first > at) blocks.push({ start: at, length: first - at });
    at = last + 1;
  }
  const end = count('Block count');
  if (end > at) blocks.push({ start: at, length: end - at });
  return { inodes, blocks };
}
