import { lstatSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { systemCode } from '../errors.ts';
import { type Checksum, isChecksum } from '../formats/object-name.ts';
import { fileExtension, type Repo } from '../repo/repo.ts';
import { unlinkObjects } from '../work/unlink-objects.ts';

/** The kinds of objects that are counted and pruned. Detached metadata goes with its commit, tombstones stay. */
export type StoredType = 'commit' | 'dirtree' | 'dirmeta' | 'file';

export interface StoredObject {
  type: StoredType;
  checksum: Checksum;
  path: string;
}

const FOLDER = /^[0-9a-f]{2}$/;

/** All objects of a repository (not those of its parent), folder by folder. */
export function* storedObjects(repo: Repo): Generator<StoredObject[]> {
  const types: Record<string, StoredType> = {
    commit: 'commit',
    dirtree: 'dirtree',
    dirmeta: 'dirmeta',
    [fileExtension(repo.mode)]: 'file',
  };
  const objects = join(repo.path, 'objects');
  for (const folder of readdirSync(objects).sort()) {
    if (!FOLDER.test(folder)) continue;
    const found: StoredObject[] = [];
    for (const name of readNames(join(objects, folder))) {
      if (name.charCodeAt(62) !== 0x2e) continue; // a dot
      const type = types[name.slice(63)];
      const checksum = folder + name.slice(0, 62);
      if (type && isChecksum(checksum)) found.push({ type, checksum, path: `${objects}/${folder}/${name}` });
    }
    yield found;
  }
}

/** The commits of a repository, without a look at anything else. */
export function storedCommits(repo: Repo): Set<Checksum> {
  const objects = join(repo.path, 'objects');
  const found = new Set<Checksum>();
  for (const folder of readdirSync(objects)) {
    if (!FOLDER.test(folder)) continue;
    for (const name of readNames(join(objects, folder))) {
      if (!name.endsWith('.commit')) continue;
      const checksum = folder + name.slice(0, -'.commit'.length);
      if (isChecksum(checksum)) found.add(checksum);
    }
  }
  return found;
}

function readNames(path: string): string[] {
  try {
    return readdirSync(path);
  } catch (error) {
    const code = systemCode(error);
    if (code === 'ENOENT' || code === 'ENOTDIR') return [];
    throw error;
  }
}

/** Bytes that an object takes, and when its file was made or changed last; null when it is gone. */
export function statObject(path: string): { size: number; changedMs: number } | null {
  const stats = lstatSync(path, { throwIfNoEntry: false });
  return stats ? { size: stats.size, changedMs: stats.ctimeMs } : null;
}

/** Deletes an object. Returns false when it was gone. */
export function unlinkObject(path: string): boolean {
  return unlinkObjects([path])[0]!;
}

/** Deletes what belongs to a commit besides its object: detached metadata, and the mark that it is partial. */
export function removeCommitCompany(repo: Repo, commit: Checksum): void {
  rmSync(join(repo.path, 'objects', commit.slice(0, 2), `${commit.slice(2)}.commitmeta`), { force: true });
  rmSync(join(repo.path, 'state', `${commit}.commitpartial`), { force: true });
}
