import { rmdirSync, rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { writeFileDurably } from '../fs/durable.ts';
import { timeSlices } from '../prune/time-slices.ts';
import { NOTES } from './folder.ts';
import { type Inventory, readIfThere } from './inventory.ts';

/** When it was first seen that a file is not wanted any more, in ms since 1970. */
type Doomed = Record<string, number>;

/**
 * Deletes what a copy has and the repository has not: at once what names other things, and after a while what is named,
 * since a client may have read of it.
 *
 * @param seconds how long that is
 * @returns how many files were deleted, and how many wait
 */
export async function deleteUnwanted(
  root: string,
  { wanted, there }: { wanted: Inventory; there: Inventory },
  o: { seconds: number; signal: AbortSignal | undefined },
): Promise<{ deleted: number; waiting: number }> {
  const others = timeSlices(o.signal);
  const remove = async (path: string): Promise<void> => {
    await others();
    rmSync(join(root, path), { recursive: true, force: true });
  };
  let deleted = 0;
  for (const kind of ['refs', 'indexes'] as const) {
    for (const path of there[kind].keys()) {
      if (wanted[kind].has(path)) continue;
      await remove(path);
      removeEmptyFolders(root, dirname(path));
      deleted++;
    }
  }
  const before = readDoomed(root);
  const doomed: Doomed = {};
  const now = Date.now();
  /** Whether its time has come; else it is noted. */
  const isDue = (path: string): boolean => {
    const since = Math.min(before[path] ?? now, now);
    if (now - since >= o.seconds * 1000) return true;
    doomed[path] = since;
    return false;
  };
  // What needs something goes before it.
  for (const [folder, files] of there.deltas) {
    if (wanted.deltas.has(folder) || !isDue(folder)) continue;
    await remove(`${folder}/superblock`);
    await remove(folder);
    deleted += files.length;
  }
  for (const kind of ['commits', 'detached', 'parts'] as const) {
    for (const path of there[kind]) {
      if (wanted[kind].has(path) || !isDue(path)) continue;
      await remove(path);
      deleted++;
    }
  }
  const text = JSON.stringify(doomed);
  if (text !== JSON.stringify(before)) await writeFileDurably(notesFile(root), text);
  return { deleted, waiting: Object.keys(doomed).length };
}

function notesFile(root: string): string {
  return join(root, NOTES, 'unwanted.json');
}

function readDoomed(root: string): Doomed {
  try {
    const noted: unknown = JSON.parse(readIfThere(notesFile(root))?.toString() ?? '{}');
    const whole = typeof noted === 'object' && noted !== null && Object.values(noted).every(Number.isFinite);
    return whole ? (noted as Doomed) : {};
  } catch {
    return {}; // then everything waits anew
  }
}

/** Folders that a ref leaves empty would stand in the way of a ref of that name. */
export function removeEmptyFolders(root: string, folder: string): void {
  for (let path = folder; path.includes('/', 'refs/'.length); path = dirname(path)) {
    try {
      rmdirSync(join(root, path));
    } catch {
      return; // not empty
    }
  }
}
