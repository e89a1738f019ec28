import { readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { readRemotes } from '../repo/remotes.ts';
import type { Repo } from '../repo/repo.ts';

/** Deletes the cached summaries of remotes that are not configured any more. */
export async function pruneCaches(repo: Repo): Promise<void> {
  const folder = join(repo.path, 'tmp/cache/summaries');
  const names = await readdir(folder).catch(() => []);
  if (names.length === 0) return;
  const remotes = await readRemotes(repo);
  for (const name of names) {
    if (!remotes.has(name.replace(/\.sig$/, ''))) await rm(join(folder, name), { force: true });
  }
}
