import { lstatSync, readdirSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { systemCode } from '../errors.ts';
import { type Checksum, isChecksum } from '../formats/object-name.ts';
import { fileExtension, type Repo } from '../repo/repo.ts';

/** The kinds of objects that are counted and pruned. Detached metadata goes with its commit, tombstones stay. */
export type StoredType = 'commit' | 'dirtree' | 'dirmeta' | 'file';

interface Folder {
  /** `objects/XX`. */
  path: string;
  names: string[];
  /** When it was changed last, as of just before it was read; null when that was a moment ago. */
  stamp: string | null;
}

const FOLDER = /^[0-9a-f]{2}$/;
const COMMIT = '.commit';
/** A change may leave the same time as one that was as short ago: file systems count in ticks. */
const SETTLED_MS = 100;

/**
 * The objects that were in a repository when it was read (not those of its parent), and what came since: an object is
 * moved into its folder, which changes the folder's time, so that folders with the same time are not read again.
 */
export class ObjectListing {
  readonly #objects: string;
  readonly #types: ReadonlyMap<string, StoredType>;
  readonly #folders = new Map<string, Folder>();

  constructor(repo: Repo) {
    this.#objects = join(repo.path, 'objects');
    this.#types = new Map([
      ['commit', 'commit'],
      ['dirtree', 'dirtree'],
      ['dirmeta', 'dirmeta'],
      [fileExtension(repo.mode), 'file'],
    ]);
    for (const name of folderNames(this.#objects)) this.#folders.set(name, readFolder(`${this.#objects}/${name}`));
  }

  /** All objects, a folder at a time: `visit` is told the folder, the file's name, its kind and its path. */
  *visit(visitor: (folder: string, file: string, type: StoredType, path: string) => void): Generator<void> {
    for (const [folder, { path, names }] of this.#folders) {
      for (const file of names) {
        if (file.charCodeAt(62) !== 0x2e) continue; // a dot
        const type = this.#types.get(file.slice(63));
        if (type) visitor(folder, file, type, path);
      }
      yield;
    }
  }

  commits(): Set<Checksum> {
    const found = new Set<Checksum>();
    for (const [folder, { names }] of this.#folders) addCommits(found, folder, names);
    return found;
  }

  /** The commits that there are now. */
  commitsNow(): Set<Checksum> {
    const found = new Set<Checksum>();
    for (const folder of folderNames(this.#objects)) {
      const path = `${this.#objects}/${folder}`;
      const known = this.#folders.get(folder);
      const isSame = known?.stamp != null && known.stamp === stampOf(path);
      addCommits(found, folder, isSame ? known.names : readNames(path));
    }
    return found;
  }
}

function addCommits(found: Set<Checksum>, folder: string, names: readonly string[]): void {
  for (const name of names) {
    if (!name.endsWith(COMMIT)) continue;
    const checksum = folder + name.slice(0, -COMMIT.length);
    if (isChecksum(checksum)) found.add(checksum);
  }
}

function folderNames(objects: string): string[] {
  return readdirSync(objects)
    .filter((name) => FOLDER.test(name))
    .sort();
}

function readFolder(path: string): Folder {
  const stamp = stampOf(path, Date.now() - SETTLED_MS);
  return { path, names: readNames(path), stamp };
}

/** Null for a folder that is gone, or was changed after `latest`. */
function stampOf(path: string, latest = Number.POSITIVE_INFINITY): string | null {
  const stats = statSync(path, { throwIfNoEntry: false, bigint: true });
  if (!stats) return null;
  const { ino, mtimeNs, ctimeNs } = stats;
  const changed = Number((mtimeNs > ctimeNs ? mtimeNs : ctimeNs) / 1_000_000n);
  return changed > latest ? null : `${ino} ${mtimeNs} ${ctimeNs}`;
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

/** Bytes that an object takes, when its file was made or changed last, and under how many names; null when it is gone. */
export function statObject(path: string): { size: number; changedMs: number; links: number } | null {
  const stats = lstatSync(path, { throwIfNoEntry: false });
  return stats ? { size: stats.size, changedMs: stats.ctimeMs, links: stats.nlink } : null;
}

/** Deletes what belongs to a commit besides its object: detached metadata, and the mark that it is partial. */
export function removeCommitCompany(repo: Repo, commit: Checksum): void {
  rmSync(join(repo.path, 'objects', commit.slice(0, 2), `${commit.slice(2)}.commitmeta`), { force: true });
  rmSync(join(repo.path, 'state', `${commit}.commitpartial`), { force: true });
}
