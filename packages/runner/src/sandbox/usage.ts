import { lstat, readdir, readFile, statfs } from 'node:fs/promises';
import { join } from 'node:path';

export type DiskUsage = {
  /** Space taken on the disk: blocks, not lengths, and ENTRY_BYTES at least; a file with several names counts once. */
  bytes: number;
  /** Length of the longest file. */
  longestFile: number;
};

/** What an empty file or a symlink counts: it takes no blocks, but one of the file system's limited number of inodes. */
const ENTRY_BYTES = 4096;

/**
 * Space below some folders. What vanishes or cannot be read while looking is left out: the job may be
 * running. `enough`: more than this many bytes need not be counted.
 */
export async function diskUsage(
  folders: string[],
  { signal, enough = Number.POSITIVE_INFINITY }: { signal?: AbortSignal; enough?: number } = {},
): Promise<DiskUsage> {
  const usage = { bytes: 0, longestFile: 0 };
  const seen = new Set<string>();
  const visit = async (folder: string): Promise<void> => {
    signal?.throwIfAborted();
    const entries = await orNull(readdir(folder, { withFileTypes: true }));
    for (const entry of entries ?? []) {
      if (usage.bytes > enough) return;
      const path = join(folder, entry.name);
      const stats = await orNull(lstat(path));
      if (!stats) continue;
      if (stats.nlink > 1 && !stats.isDirectory()) {
        const identity = `${stats.dev}:${stats.ino}`;
        if (seen.has(identity)) continue;
        seen.add(identity);
      }
      usage.bytes += Math.max(stats.blocks * 512, ENTRY_BYTES);
      if (stats.isFile()) usage.longestFile = Math.max(usage.longestFile, stats.size);
      if (stats.isDirectory()) await visit(path);
    }
  };
  for (const folder of folders) await visit(folder);
  return usage;
}

export type FreeSpace = { bytes: number; inodes: number };

/** Free space of the file system that a folder is on, for this user. */
export async function freeSpace(folder: string): Promise<FreeSpace> {
  const stats = await statfs(folder);
  return { bytes: stats.bavail * stats.bsize, inodes: stats.ffree };
}

/** How much of the free space went, in bytes as `diskUsage` counts them. */
export function lostSpace(before: FreeSpace, now: FreeSpace): number {
  return Math.max(before.bytes - now.bytes, (before.inodes - now.inodes) * ENTRY_BYTES);
}

/**
 * Memory of a process and all its descendants. Resident sizes count a page once for each process that shares it: when
 * that sum passes `limit`, the exact (and slower) proportional sizes are read instead.
 */
export async function memoryUsage(root: number, limit: number): Promise<number> {
  const children = new Map<number, number[]>();
  const resident = new Map<number, number>();
  for (const name of (await orNull(readdir('/proc'))) ?? []) {
    if (!/^[0-9]+$/.test(name)) continue;
    const stat = await orNull(readFile(`/proc/${name}/stat`, 'latin1'));
    // The name in parentheses may hold spaces and parentheses.
    const fields = stat?.slice(stat.lastIndexOf(')') + 2).split(' ');
    if (!fields) continue;
    const pid = Number(name);
    const parent = Number(fields[1]);
    resident.set(pid, Number(fields[21]) * PAGE);
    children.set(parent, [...(children.get(parent) ?? []), pid]);
  }
  const family: number[] = [];
  const waiting = [root];
  for (let pid = waiting.pop(); pid !== undefined; pid = waiting.pop()) {
    family.push(pid);
    waiting.push(...(children.get(pid) ?? []));
  }
  const sum = family.reduce((total, pid) => total + (resident.get(pid) ?? 0), 0);
  if (sum <= limit) return sum;
  let exact = 0;
  for (const pid of family) {
    const rollup = await orNull(readFile(`/proc/${pid}/smaps_rollup`, 'latin1'));
    const kilobytes = rollup && /^Pss:\s+([0-9]+) kB/m.exec(rollup)?.[1];
    exact += kilobytes ? Number(kilobytes) * 1024 : (resident.get(pid) ?? 0);
  }
  return exact;
}

/** Field rss of /proc/<pid>/stat counts pages. 4 KiB on all that Node runs on, but for 64 KiB kernels of aarch64. */
const PAGE = 4096;

async function orNull<T>(promise: Promise<T>): Promise<T | null> {
  try {
    return await promise;
  } catch {
    return null;
  }
}

/** A size for people, in the units that treeline.yaml takes. */
export function formatSize(bytes: number): string {
  for (const [unit, size] of UNITS) {
    if (bytes >= size) {
      const value = bytes / size;
      return `${Number.isInteger(value) ? value : value.toFixed(1)}${unit}`;
    }
  }
  return `${bytes} bytes`;
}

const UNITS: Array<[string, number]> = [
  ['G', 1024 ** 3],
  ['M', 1024 ** 2],
  ['K', 1024],
];
