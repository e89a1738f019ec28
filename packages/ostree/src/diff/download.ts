import { lstatSync } from 'node:fs';
import { OstreeError } from '../errors.ts';
import type { Checksum, Tree } from '../formats/object-name.ts';
import { objectPath } from '../repo/objects.ts';
import type { Repo } from '../repo/repo.ts';
import { treeReader } from '../repo/tree-reader.ts';

/** What somebody has to fetch. */
export interface DownloadSize {
  /** Objects that a holder of `have` lacks, and their bytes as an archive repository serves them. */
  objects: number;
  bytes: number;
  /** The same for somebody who has nothing. */
  totalObjects: number;
  totalBytes: number;
}

/**
 * What a pull of `want` fetches when `have` is there already: objects as stored in this repository. In an archive
 * repository that is what travels; in another one content is not compressed, and the number is an upper bound.
 */
export function downloadSize(repo: Repo, have: Tree | null, want: Tree): DownloadSize {
  const known = have ? reachable(repo, have) : new Set<string>();
  const sizes = objectSizes(repo);
  const size: DownloadSize = { objects: 0, bytes: 0, totalObjects: 0, totalBytes: 0 };
  for (const name of reachable(repo, want)) {
    const bytes = sizes(name);
    size.totalObjects++;
    size.totalBytes += bytes;
    if (known.has(name)) continue;
    size.objects++;
    size.bytes += bytes;
  }
  return size;
}

/**
 * The objects that `want` needs and `have` does not, and their bytes as stored. Unlike downloadSize it looks at nothing
 * that both have, so it costs one walk over the folders of `have`.
 */
export function lackingSize(repo: Repo, have: Tree, want: Tree): Pick<DownloadSize, 'objects' | 'bytes'> {
  const known = reachable(repo, have);
  const reader = treeReader(repo);
  const sizes = objectSizes(repo);
  const lacking = { objects: 0, bytes: 0 };
  const need = (name: string): boolean => {
    if (known.has(name)) return false;
    known.add(name);
    lacking.objects++;
    lacking.bytes += sizes(name);
    return true;
  };
  const queue = [want];
  for (let at = queue.pop(); at; at = queue.pop()) {
    need(`${at.meta}.dirmeta`);
    // Of a folder that is known somewhere, all that is in it is known.
    if (!need(`${at.contents}.dirtree`)) continue;
    const { files, dirs } = reader.dirTree(at.contents);
    for (const checksum of files.values()) need(`${checksum}.file`);
    queue.push(...dirs.values());
  }
  return lacking;
}

/** Stored bytes of an object, by its name `<checksum>.<type>`. */
export function objectSizes(repo: Repo): (name: string) => number {
  return (name) => {
    const [checksum, type] = name.split('.') as [Checksum, 'file' | 'dirtree' | 'dirmeta'];
    const stats = lstatSync(objectPath(repo, type, checksum), { throwIfNoEntry: false });
    if (stats) return stats.size;
    throw new OstreeError('not-found', `${repo.path}: no object ${name}`, { object: name });
  };
}

/** The names, `<checksum>.<type>`, of all objects of a tree. */
export function reachable(repo: Repo, tree: Tree): Set<string> {
  const reader = treeReader(repo);
  const names = new Set<string>();
  const queue = [tree];
  for (let at = queue.pop(); at; at = queue.pop()) {
    names.add(`${at.meta}.dirmeta`);
    if (names.has(`${at.contents}.dirtree`)) continue;
    names.add(`${at.contents}.dirtree`);
    const { files, dirs } = reader.dirTree(at.contents);
    for (const checksum of files.values()) names.add(`${checksum}.file`);
    queue.push(...dirs.values());
  }
  return names;
}
