import { randomBytes } from 'node:crypto';
import { closeSync, fsyncSync, lstatSync, mkdirSync, openSync, renameSync, rmSync } from 'node:fs';
import { access, constants, mkdir, readdir, rename, rm } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { OstreeError, systemCode } from '../errors.ts';
import { loosePath } from '../formats/object-name.ts';
import { hasSyncFilesystem, syncFilesystem, tryHold } from '../fs/syscalls.ts';
import type { Repo } from './repo.ts';

/** A folder of a repository in which objects wait, as `<checksum>.<extension>`, until all of them may be seen. */
export interface Staging {
  readonly path: string;
  /**
   * Makes the objects that wait durable and moves them into the repository. Nothing may be being written. `settle`
   * makes it durable, too, that they are there (the default); without it they may be gone after a power failure, but
   * none is there and damaged.
   */
  release(options?: { settle?: boolean }): Promise<void>;
  /** Throws away what waits. */
  close(): Promise<void>;
}

/** `tmp/treeline-<random>`; the process that works in one holds a lock on its `.held`, until it ends or is killed. */
const STAGING = /^treeline-[0-9a-f]{16}$/;
/** A folder whose lock is not taken yet. */
const BEGUN = /^treeline-begun-[0-9a-f]{16}$/;
const HELD = '.held';
const HOUR_MS = 3_600_000;

/** From this many objects on one syncfs is cheaper than an fsync each. */
const SYNCFS_OBJECTS = 32;

const OBJECT_NAME = /^[0-9a-f]{64}\.(filez|file|dirmeta|dirtree|commitmeta|commit)$/;
/** What an object needs comes before it: whatever is in the repository has its parts. */
const RANK: Record<string, number> = { filez: 0, file: 0, dirmeta: 1, dirtree: 2, commitmeta: 3, commit: 4 };

/**
 * Makes a staging folder, after removing those of processes that are gone.
 *
 * @throws OstreeError `io` where nothing can be written
 */
export async function openStaging(repo: Repo): Promise<Staging> {
  await removeAbandoned(repo);
  const id = randomBytes(8).toString('hex');
  const begun = join(repo.path, 'tmp', `treeline-begun-${id}`);
  const path = join(repo.path, 'tmp', `treeline-${id}`);
  await mkdir(begun, { recursive: true }).catch(async (cause: unknown) => {
    throw await cannotStage(repo, cause);
  });
  const held = openSync(join(begun, HELD), 'w');
  tryHold(held);
  // Only now is it what others look at: without a lock they would take it for abandoned.
  await rename(begun, path);
  const unsettled = new Set<string>();
  return {
    path,
    async release({ settle = true } = {}) {
      await moveIn(repo, path, { held, unsettled });
      if (settle) settleFolders(repo, { held, unsettled });
    },
    async close() {
      await rm(path, { recursive: true, force: true });
      closeSync(held);
    },
  };
}

/** Node's recursive mkdir says ENOENT on a read-only file system; access says what is the matter. */
async function cannotStage(repo: Repo, cause: unknown): Promise<OstreeError> {
  const code = await access(repo.path, constants.W_OK).then(() => systemCode(cause), systemCode);
  if (code === 'EROFS') {
    return new OstreeError('io', `${repo.path}: cannot be written to: it is on a read-only file system`, {
      cause,
      hint: 'Mount it for writing, or use a repository elsewhere.',
    });
  }
  return new OstreeError('io', `${repo.path}: cannot make a folder in its tmp: ${code}`, { cause });
}

interface StagingState {
  held: number;
  /** Folders of objects of which the disk does not know yet what is in them. */
  unsettled: Set<string>;
}

/** Makes what waits durable, and moves it to where it belongs. */
async function moveIn(repo: Repo, path: string, state: StagingState): Promise<void> {
  moveObjects(repo, path, await readdir(path), state);
}

/**
 * Moves objects that lie in a folder of the repository's file system to where they belong, in the order of a
 * transaction and as durably. It returns when all is done, which may be seconds: for a worker.
 *
 * @param files `<checksum>.<extension>` in the folder, or in folders of it; names of other forms are passed over
 */
export function releaseObjects(repo: Pick<Repo, 'path' | 'fsync'>, path: string, files: readonly string[]): void {
  const held = openSync(path, 'r');
  try {
    const state = { held, unsettled: new Set<string>() };
    moveObjects(repo, path, files, state);
    settleFolders(repo, state);
  } finally {
    closeSync(held);
  }
}

function moveObjects(
  repo: Pick<Repo, 'path' | 'fsync'>,
  path: string,
  candidates: readonly string[],
  state: StagingState,
): void {
  const { held, unsettled } = state;
  const files: { file: string; name: string; extension: string }[] = [];
  for (const file of candidates) {
    const name = basename(file);
    if (OBJECT_NAME.test(name)) files.push({ file, name, extension: extensionOf(name) });
  }
  if (files.length === 0) return;
  const objects = join(repo.path, 'objects');
  const many = files.length >= SYNCFS_OBJECTS && hasSyncFilesystem();
  if (repo.fsync) {
    if (many) syncFilesystem(held);
    else for (const { file } of files) syncPath(join(path, file));
  }
  // What a commit needs has to be there for good before it is.
  if (files.some(({ extension }) => extension === 'commit')) settleFolders(repo, state);
  files.sort((a, b) => RANK[a.extension]! - RANK[b.extension]!);
  for (const { file, name, extension } of files) {
    const folder = `${objects}/${name.slice(0, 2)}`;
    if (!unsettled.has(folder)) mkdirSync(folder, { recursive: true });
    unsettled.add(folder);
    renameSync(`${path}/${file}`, `${folder}/${name.slice(2)}`);
    // A commit that is here is deleted no more.
    if (extension === 'commit')
      rmSync(join(objects, loosePath(name.slice(0, 64), 'tombstone-commit')), { force: true });
  }
}

/** Makes it durable that objects are in these folders. */
function settleFolders(repo: Pick<Repo, 'path' | 'fsync'>, { held, unsettled }: StagingState): void {
  if (repo.fsync && unsettled.size >= SYNCFS_OBJECTS && hasSyncFilesystem()) syncFilesystem(held);
  else if (repo.fsync && unsettled.size > 0) {
    for (const folder of [...unsettled, join(repo.path, 'objects')]) syncPath(folder);
  }
  unsettled.clear();
}

function extensionOf(name: string): string {
  return name.slice(65);
}

function syncPath(path: string): void {
  if (lstatSync(path).isSymbolicLink()) return; // lives in its folder's entry and inode; the folder is synced
  const fd = openSync(path, 'r');
  try {
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}

/**
 * @internal Removes the staging folders of processes that are gone. Returns their names.
 *
 * @param settledMs what nobody holds a lock on, and nobody may be just making or removing, after this long; default an
 *   hour
 */
export async function removeAbandoned(repo: Repo, settledMs = HOUR_MS): Promise<string[]> {
  const folder = join(repo.path, 'tmp');
  const removed: string[] = [];
  const remove = async (name: string) => {
    await rm(join(folder, name), { recursive: true, force: true });
    removed.push(name);
  };
  for (const name of await readdir(folder).catch(() => [])) {
    if (BEGUN.test(name) && isOlder(join(folder, name), settledMs)) await remove(name);
    if (!STAGING.test(name)) continue;
    let fd: number;
    try {
      fd = openSync(join(folder, name, HELD), 'r');
    } catch (error) {
      // Somebody is just removing it; or was, when he was killed.
      if (systemCode(error) === 'ENOENT' && isOlder(join(folder, name), settledMs)) await remove(name);
      continue;
    }
    if (tryHold(fd)) await remove(name);
    closeSync(fd);
  }
  return removed;
}

/** @internal Whether there is something at a path that has not changed for as long. */
export function isOlder(path: string, ms: number): boolean {
  const stats = lstatSync(path, { throwIfNoEntry: false });
  return stats !== undefined && Date.now() - stats.mtimeMs >= ms;
}
