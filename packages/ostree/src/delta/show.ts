import { stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { Repo } from '../repo/repo.ts';
import { pool } from '../work/pool.ts';
import { deltaFolder } from './names.ts';
import type { PartStatistics } from './part-statistics.ts';
import { openDelta } from './stored.ts';
import type { Superblock } from './superblock.ts';

/** What a delta is made of, without applying it. */
export interface DeltaDescription {
  superblock: Superblock;
  /** What is in each part. */
  parts: PartStatistics[];
}

/**
 * What a delta consists of, with its parts unpacked and their operations counted.
 *
 * @param nameOrPath `FROM-TO`, `TO`, or the path of a superblock
 * @throws OstreeError `not-found`, `invalid`, `corrupt`
 */
export async function showDelta(repo: Repo, nameOrPath: string): Promise<DeltaDescription> {
  const { superblock, path } = await openDelta(repo, nameOrPath);
  const { from, to } = superblock;
  // Parts lie beside their superblock; of one that was written to a file of its own, in the repository or nowhere.
  const folder = nameOrPath.includes('/') ? dirname(path) : join(repo.path, deltaFolder(from, to));
  const parts = superblock.parts.map(async ({ inline, ...header }, index) => {
    const part = inline ?? join(folder, String(index));
    const size = typeof part === 'string' ? (await stat(part)).size : part.length;
    return pool.run({ kind: 'count-delta-part', part, header, object: `${path}: part ${index}` }, size);
  });
  return { superblock, parts: await Promise.all(parts) };
}
