import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { deltaOfFolder } from '../delta/names.ts';
import { systemCode } from '../errors.ts';
import { timeSlices } from '../prune/time-slices.ts';
import { readRefFile, refFiles } from '../repo/refs.ts';

/** Files of a repository that clients can ask for, as paths below it. */
export interface Inventory {
  /** Files, folders and attributes of folders. */
  parts: Set<string>;
  /** Detached metadata of commits, which may change. */
  detached: Set<string>;
  commits: Set<string>;
  /** The files of each delta by its folder. */
  deltas: Map<string, string[]>;
  /** Content of each ref by its path; an alias has that of what it stands for. */
  refs: Map<string, string>;
  indexes: Map<string, Buffer>;
}

const PART = /^[0-9a-f]{62}\.(?:filez|dirtree|dirmeta)$/;
const COMMIT = /^[0-9a-f]{62}\.commit$/;
const DETACHED = /^[0-9a-f]{62}\.(?:commitmeta|tombstone-commit)$/;
const PREFIX = /^[0-9a-f]{2}$/;
const DELTA_FILE = /^(?:superblock|\d{1,9})$/;
const INDEX = /^[\w+]{41}\.index$/;

/**
 * What a repository has, in an order in which everything that is found has what it needs, as long as nothing is deleted:
 * indexes before the deltas that they list, refs before their commits, commits before their parts.
 */
export async function takeInventory(root: string, signal?: AbortSignal): Promise<Inventory> {
  const others = timeSlices(signal);
  const indexes = new Map<string, Buffer>();
  for (const prefix of namesIn(join(root, 'delta-indexes'))) {
    await others();
    for (const name of namesIn(join(root, 'delta-indexes', prefix))) {
      const path = `delta-indexes/${prefix}/${name}`;
      const data = INDEX.test(name) ? readIfThere(join(root, path)) : null;
      if (data) indexes.set(path, data);
    }
  }
  const refs = new Map<string, string>();
  for (const folder of ['refs/heads', 'refs/mirrors']) {
    for (const { name, path } of refFiles(join(root, folder))) {
      const commit = readRefFile(path);
      if (commit) refs.set(`${folder}/${name}`, `${commit}\n`);
    }
  }
  const deltas = new Map<string, string[]>();
  for (const prefix of namesIn(join(root, 'deltas'))) {
    await others();
    for (const rest of namesIn(join(root, 'deltas', prefix))) {
      const files = deltaOfFolder(prefix, rest) ? namesIn(join(root, 'deltas', prefix, rest)) : [];
      // The superblock comes last when a delta is made and goes first when it is deleted.
      if (files.includes('superblock'))
        deltas.set(
          `deltas/${prefix}/${rest}`,
          files.filter((file) => DELTA_FILE.test(file)),
        );
    }
  }
  const [commits, detached, parts] = [new Set<string>(), new Set<string>(), new Set<string>()];
  for (const pass of ['commits', 'parts'] as const) {
    for (const prefix of namesIn(join(root, 'objects'))) {
      if (!PREFIX.test(prefix)) continue;
      await others();
      for (const name of namesIn(join(root, 'objects', prefix))) {
        const path = `objects/${prefix}/${name}`;
        if (pass === 'parts') {
          if (PART.test(name)) parts.add(path);
        } else if (COMMIT.test(name)) commits.add(path);
        else if (DETACHED.test(name)) detached.add(path);
      }
    }
  }
  return { parts, detached, commits, deltas, refs, indexes };
}

/** What lies in a folder that need not be there, without what is hidden. */
export function namesIn(folder: string): string[] {
  try {
    return readdirSync(folder).filter((name) => !name.startsWith('.'));
  } catch (error) {
    const code = systemCode(error);
    if (code === 'ENOENT' || code === 'ENOTDIR') return [];
    throw error;
  }
}

export function readIfThere(path: string): Buffer | null {
  try {
    return readFileSync(path);
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return null;
    throw error;
  }
}

/** A copy's time is set by way of a number of seconds with fractions, which is not always the same millisecond. */
const TIME_TOLERANCE_MS = 1;

/** Whether two paths are one file, or look like copies of one: a copy has the time of what it was made from. */
export function isSameFile(one: string, two: string): boolean {
  const [a, b] = [statSync(one, { throwIfNoEntry: false }), statSync(two, { throwIfNoEntry: false })];
  if (!a || !b || a.size !== b.size) return false;
  return (a.ino === b.ino && a.dev === b.dev) || Math.abs(a.mtimeMs - b.mtimeMs) <= TIME_TOLERANCE_MS;
}
