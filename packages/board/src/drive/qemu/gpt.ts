import { open } from 'node:fs/promises';
import { BoardError } from '../../errors.ts';

const SECTOR = 512;
const ENTRY_LIMIT = 128;

/** Where a partition of an image is, in bytes. */
export type Partition = { offset: number; size: number };

/**
 * Finds a partition of a disk image by its GPT name (UEFI specification, "GUID Partition Table Header").
 *
 * @throws BoardError `invalid` when there is no partition table, or no such partition
 */
export async function findPartition(image: string, name: string): Promise<Partition> {
  const file = await open(image, 'r');
  try {
    const header = Buffer.alloc(SECTOR);
    await file.read(header, 0, SECTOR, SECTOR);
    if (header.toString('latin1', 0, 8) !== 'EFI PART') {
      throw new BoardError('invalid', `${image} has no GUID partition table`);
    }
    const start = Number(header.readBigUInt64LE(72)) * SECTOR;
    const count = Math.min(header.readUInt32LE(80), ENTRY_LIMIT);
    const size = header.readUInt32LE(84);
    if (size < 128 || size > 4096) throw new BoardError('invalid', `${image} has a malformed partition table`);
    const table = Buffer.alloc(count * size);
    await file.read(table, 0, table.length, start);
    for (let at = 0; at < table.length; at += size) {
      const label = table.toString('utf16le', at + 56, at + 128).replace(/\0.*$/s, '');
      if (label !== name) continue;
      const first = Number(table.readBigUInt64LE(at + 32));
      const last = Number(table.readBigUInt64LE(at + 40));
      return { offset: first * SECTOR, size: (last - first + 1) * SECTOR };
    }
    throw new BoardError('invalid', `${image} has no partition named "${name}"`);
  } finally {
    await file.close();
  }
}
