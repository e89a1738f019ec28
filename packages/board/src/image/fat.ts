import { mkdir, open, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { run } from '../command.ts';
import type { Range } from './partitions.ts';

/** A file for the FAT partition: copied from a path, or given. */
export type FatFile = { to: string } & ({ from: string } | { content: string | Buffer });

/**
 * Makes the FAT file system inside of the disk image, without mounting it: mkfs.vfat and mtools.
 *
 * @param time of all files, seconds
 * @param folder for files in between
 * @returns what has to be on the disk although it may be zeros: the tables of what is free
 */
export async function makeFat(
  image: string,
  where: Range,
  files: readonly FatFile[],
  { time, folder, signal }: FatOptions,
): Promise<Range[]> {
  // mkfs.vfat would choose clusters for the size of the whole file, and FAT32 has to have 65,525 of them at least.
  const perCluster = Math.min(8, 2 ** Math.max(0, Math.floor(Math.log2(where.length / 2 ** 26))));
  const offset = `--offset=${where.start / 512}`;
  // --invariant: otherwise the volume's number and the time of its label are of this moment.
  const flags = ['-F', '32', '-s', `${perCluster}`, '-n', 'ESP', '--invariant', offset];
  await run('mkfs.vfat', [...flags, image, `${where.length / 1024}`], { signal, debian: 'dosfstools' });
  const target = `${image}@@${where.start}`;
  const env = { SOURCE_DATE_EPOCH: `${time}`, TZ: 'UTC' };
  const mtools = (command: string, ...args: string[]) => run(command, args, { env, signal, debian: 'mtools' });
  const made = new Set<string>();
  for (const [index, file] of [...files].sort((a, b) => (a.to < b.to ? -1 : 1)).entries()) {
    const parts = dirname(file.to).split('/');
    for (let depth = 1; depth <= parts.length; depth++) {
      const parent = parts.slice(0, depth).join('/');
      if (parent === '.' || made.has(parent)) continue;
      await mtools('mmd', '-i', target, `::${parent}`);
      made.add(parent);
    }
    let from: string;
    if ('from' in file) from = file.from;
    else {
      from = join(folder, `fat-${index}`);
      await mkdir(folder, { recursive: true });
      await writeFile(from, file.content);
    }
    await mtools('mcopy', '-s', '-Q', '-i', target, from, `::${file.to}`);
  }
  return [await reservedArea(image, where)];
}

interface FatOptions {
  time: number;
  folder: string;
  signal?: AbortSignal | undefined;
}

/** Boot sectors and both FATs, from the BIOS parameter block (Microsoft's FAT specification, section 3). */
async function reservedArea(image: string, where: Range): Promise<Range> {
  const file = await open(image, 'r');
  try {
    const sector = Buffer.alloc(512);
    await file.read(sector, 0, 512, where.start);
    const bytesPerSector = sector.readUInt16LE(11);
    const reserved = sector.readUInt16LE(14);
    const tables = sector.readUInt8(16) * sector.readUInt32LE(36);
    return { start: where.start, length: (reserved + tables) * bytesPerSector };
  } finally {
    await file.close();
  }
}
