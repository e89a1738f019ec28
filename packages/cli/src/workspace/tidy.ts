import { lstatSync, readdirSync, rmSync, statSync, utimesSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Home } from './home.ts';
import { removeTree } from './place.ts';
import { listWorkspaces, tryWorkspace } from './record.ts';

const DAY_MS = 24 * 3600 * 1000;
/** An unpacked object that no workspace uses is kept this long: somebody may check the same out again. */
const KEEP_UNUSED_MS = 14 * DAY_MS;
/** A workspace whose folder is not where it was may have been moved, or be on a disk that is not there now. */
const KEEP_RECORD_MS = 30 * DAY_MS;

/**
 * Once a day: removes unpacked objects that are no longer used, forgets workspaces that are gone, and deletes what only
 * they needed. What was committed stays until its ref is deleted.
 */
export async function tidy(home: Home, signal: AbortSignal, now: number = Date.now()): Promise<void> {
  const mark = join(home.path, 'tidied');
  if (now - (statSync(mark, { throwIfNoEntry: false })?.mtimeMs ?? 0) < DAY_MS) return;
  writeFileSync(mark, '');
  utimesSync(mark, now / 1000, now / 1000);
  sweepCache(home.cache, now - KEEP_UNUSED_MS);
  const { prune, setRef } = await import('@treeline/ostree');
  for (const { id, folder, record, baseRef } of listWorkspaces(home)) {
    if (tryWorkspace(folder)?.id === id || Date.parse(record.usedAt) > now - KEEP_RECORD_MS) continue;
    await setRef(home.repo, baseRef, null);
    await removeTree(join(home.workspaces, id));
  }
  await prune(home.repo, { refsOnly: true, signal });
}

/** A link that is made or removed sets an inode's ctime: it tells when the last workspace let go. */
function sweepCache(cache: string, before: number): void {
  for (const kind of readdirSync(cache)) {
    for (const prefix of readdirSync(join(cache, kind))) {
      for (const name of readdirSync(join(cache, kind, prefix))) {
        const path = join(cache, kind, prefix, name);
        const stats = lstatSync(path, { throwIfNoEntry: false });
        if (stats?.nlink === 1 && stats.ctimeMs < before) rmSync(path, { force: true });
      }
    }
  }
}
