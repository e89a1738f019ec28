import { open } from 'node:fs/promises';
import type { BoardFile } from '../board-file.ts';
import { ESP_LABEL, ROOT_LABEL } from '../boot/loader.ts';
import { run } from '../command.ts';
import type { ImageIdentity } from './identity.ts';

const SECTOR = 512;
/** The partition table at each end of the disk: a header, and 128 entries of 128 bytes; at the start also the MBR. */
const TABLE_SECTORS = 33;

export interface Range {
  /** Bytes from the start of the disk. */
  start: number;
  length: number;
}

export interface Partitions {
  esp: Range;
  root: Range;
  /** Where the partition tables are. */
  tables: Range[];
}

/** Makes the file, all holes, and writes the partition table: the EFI system partition, and the root partition. */
export async function partition(
  path: string,
  board: BoardFile,
  identity: ImageIdentity,
  signal?: AbortSignal,
): Promise<Partitions> {
  const { size, esp: espSize, start } = board.image;
  const file = await open(path, 'wx');
  try {
    await file.truncate(size);
  } finally {
    await file.close();
  }
  const table = TABLE_SECTORS * SECTOR;
  const esp = { start, length: espSize };
  const rootStart = start + espSize;
  // The last MiB is the table's: partitions end on a MiB, which cards and SSDs like.
  const root = { start: rootStart, length: size - rootStart - 2 ** 20 };
  const sectors = ({ start, length }: Range) => `${start / SECTOR}:${(start + length) / SECTOR - 1}`;
  const args = [
    ...['--clear', '--set-alignment=1', `--disk-guid=${identity.disk}`],
    ...[`--new=1:${sectors(esp)}`, '--typecode=1:ef00', `--change-name=1:${ESP_LABEL}`],
    ...[`--partition-guid=1:${identity.esp}`],
    ...[`--new=2:${sectors(root)}`, '--typecode=2:8300', `--change-name=2:${ROOT_LABEL}`],
    ...[`--partition-guid=2:${identity.root}`],
    // U-Boot's search for boot scripts takes partitions that are marked, and the first if none is.
    ...(board.boot.loader === 'uboot' ? ['--attributes=1:set:2'] : []),
  ];
  await run('sgdisk', [...args, path], { signal, debian: 'gdisk' });
  const tables = [
    { start: 0, length: SECTOR + table },
    { start: size - table, length: table },
  ];
  return { esp, root, tables };
}
