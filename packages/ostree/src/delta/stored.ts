import { hash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { open, readdir, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { OstreeError, systemCode } from '../errors.ts';
import { type Checksum, compareNames } from '../formats/object-name.ts';
import { syncFolder } from '../fs/durable.ts';
import type { Repo } from '../repo/repo.ts';
import {
  commitOfIndex,
  type DeltaName,
  deltaFolder,
  deltaName,
  deltaOfFolder,
  deltaSuperblockPath,
  parseDeltaName,
} from './names.ts';
import { decodeSuperblock, type Superblock } from './superblock.ts';

/** The deltas of a repository, sorted by name. */
export async function listDeltas(repo: Repo): Promise<DeltaName[]> {
  const found: DeltaName[] = [];
  for (const { prefix, name } of await entries(join(repo.path, 'deltas'))) {
    const delta = deltaOfFolder(prefix, name);
    if (delta && existsSync(join(repo.path, 'deltas', prefix, name, 'superblock'))) found.push(delta);
  }
  return found.sort((a, b) => compareNames(deltaName(a.from, a.to), deltaName(b.from, b.to)));
}

/** The commits that have a delta index, sorted. */
export async function listDeltaIndexes(repo: Repo): Promise<Checksum[]> {
  const found: Checksum[] = [];
  for (const { prefix, name } of await entries(join(repo.path, 'delta-indexes'))) {
    const commit = prefix.length === 2 ? commitOfIndex(prefix, name) : null;
    if (commit) found.push(commit);
  }
  return found.sort();
}

/** What lies in the folders of a folder. */
async function entries(folder: string): Promise<{ prefix: string; name: string }[]> {
  const list = async (path: string) => {
    try {
      return await readdir(path);
    } catch (error) {
      if (systemCode(error) === 'ENOENT' || systemCode(error) === 'ENOTDIR') return [];
      throw error;
    }
  };
  const found: { prefix: string; name: string }[] = [];
  for (const prefix of await list(folder)) {
    for (const name of await list(join(folder, prefix))) found.push({ prefix, name });
  }
  return found;
}

/** Lies in the folder of a delta that is retired. */
export const RETIRED = '.retired';

/** Whether a delta is retired: see retireDelta. */
export function isRetiredDelta(repo: Repo, { from, to }: DeltaName): boolean {
  return existsSync(join(repo.path, deltaFolder(from, to), RETIRED));
}

/**
 * Retires a delta, or takes that back: delta indexes and summaries that this library writes from then on do not name
 * it, while who has read an older one still gets it. That is what comes before deleting one under clients that pull.
 *
 * @throws OstreeError `not-found`
 */
export async function retireDelta(repo: Repo, { from, to }: DeltaName, retired = true): Promise<void> {
  if (!hasDelta(repo, { from, to })) throw new OstreeError('not-found', `Can't find delta ${deltaName(from, to)}`);
  const folder = join(repo.path, deltaFolder(from, to));
  if (retired) await writeFile(join(folder, RETIRED), '');
  else await rm(join(folder, RETIRED), { force: true });
  await syncFolder(folder);
}

/** Whether there is a delta. */
export function hasDelta(repo: Repo, { from, to }: DeltaName): boolean {
  return existsSync(join(repo.path, deltaSuperblockPath(from, to)));
}

/** libostree reads no larger superblock either (`OSTREE_MAX_METADATA_SIZE`), unless it holds its parts. */
const MAX_SUPERBLOCK_BYTES = 2 ** 31 - 1;

/** Bytes of a superblock file. Throws `not-found`. */
export async function readSuperblockFile(path: string): Promise<Buffer> {
  let handle: Awaited<ReturnType<typeof open>>;
  try {
    handle = await open(path, 'r');
  } catch (cause) {
    if (systemCode(cause) !== 'ENOENT' && systemCode(cause) !== 'ENOTDIR') throw cause;
    throw new OstreeError('not-found', `${path}: no such delta`, { cause });
  }
  try {
    const { size } = await handle.stat();
    if (size > MAX_SUPERBLOCK_BYTES) throw new OstreeError('unsupported', `${path}: ${size} bytes are too many`);
    return await handle.readFile();
  } finally {
    await handle.close();
  }
}

/** The superblock of a delta of a repository. Throws `not-found`, `corrupt`. */
export async function readSuperblock(repo: Repo, { from, to }: DeltaName): Promise<Superblock> {
  const path = join(repo.path, deltaSuperblockPath(from, to));
  const superblock = decodeSuperblock(await readSuperblockFile(path), { object: path });
  if (superblock.from !== from || superblock.to !== to) {
    throw new OstreeError('corrupt', `${path}: is the delta ${deltaName(superblock.from, superblock.to)}`);
  }
  return superblock;
}

/** SHA-256 of a delta's superblock, as delta indexes and summaries list it. */
export async function superblockDigest(repo: Repo, { from, to }: DeltaName): Promise<Checksum> {
  return hash('sha256', await readSuperblockFile(join(repo.path, deltaSuperblockPath(from, to))));
}

/** Removes a delta. Its index stays as it is until the indexes are updated. Throws `not-found`. */
export async function deleteDelta(repo: Repo, { from, to }: DeltaName): Promise<void> {
  const folder = join(repo.path, deltaFolder(from, to));
  const found = await stat(folder).catch(() => null);
  if (!found) throw new OstreeError('not-found', `Can't find delta ${deltaName(from, to)}`);
  // Without a superblock it is no delta any more, whatever happens next.
  await rm(join(folder, 'superblock'), { force: true });
  await rm(folder, { recursive: true, force: true });
}

/** A delta by its name, or by the path of its superblock, which has a slash in it. */
export async function openDelta(repo: Repo, nameOrPath: string): Promise<{ superblock: Superblock; path: string }> {
  if (!nameOrPath.includes('/')) {
    const name = parseDeltaName(nameOrPath);
    const path = join(repo.path, deltaSuperblockPath(name.from, name.to));
    return { superblock: await readSuperblock(repo, name), path };
  }
  return {
    superblock: decodeSuperblock(await readSuperblockFile(nameOrPath), { object: nameOrPath }),
    path: nameOrPath,
  };
}
