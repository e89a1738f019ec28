import { randomBytes } from 'node:crypto';
import { renameSync, rmSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { syncFolder, writeFileDurably } from '../fs/durable.ts';
import type { Repo } from '../repo/repo.ts';

/**
 * Puts a summary in place with its signatures, or without any. Both are on disk before either can be seen, and then
 * nothing comes between the two renames. Who asks just then gets a summary that does not fit its signature, refuses it
 * and asks again; a crash just then leaves the new summary without a signature rather than with one that looks like
 * an attack.
 */
export async function publishSummary(repo: Repo, summary: Uint8Array, signatures: Uint8Array | null): Promise<void> {
  const path = join(repo.path, 'summary');
  if (signatures === null) {
    await rm(`${path}.sig`, { force: true });
    await writeFileDurably(path, summary);
    return;
  }
  const waiting = join(repo.path, 'tmp', `summary-${randomBytes(6).toString('hex')}`);
  try {
    await writeFileDurably(waiting, summary);
    await writeFileDurably(`${waiting}.sig`, signatures);
    rmSync(`${path}.sig`, { force: true });
    renameSync(waiting, path);
    renameSync(`${waiting}.sig`, `${path}.sig`);
  } finally {
    await rm(waiting, { force: true });
    await rm(`${waiting}.sig`, { force: true });
  }
  await syncFolder(repo.path);
}
