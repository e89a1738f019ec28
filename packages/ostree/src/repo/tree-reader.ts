import { existsSync, readFileSync } from 'node:fs';
import { OstreeError, systemCode } from '../errors.ts';
import { type DirMeta, decodeDirMeta } from '../formats/dirmeta.ts';
import { type DirTree, decodeDirTree } from '../formats/dirtree.ts';
import type { Checksum, Tree } from '../formats/object-name.ts';
import { assertHash, objectPath } from './objects.ts';
import type { Repo } from './repo.ts';
import type { Transaction } from './transaction.ts';

/** Reads folders, each once, from a repository or from a transaction with what it has staged. */
export interface TreeReader {
  /** What is in a folder. Throws `not-found` or `corrupt`. */
  dirTree(checksum: Checksum): DirTree;
  /** The attributes of a folder. Throws `not-found` or `corrupt`. */
  dirMeta(checksum: Checksum): DirMeta;
}

/**
 * A reader that keeps what it read, for one operation. It reads synchronously: a walk over a tree is many small
 * files in a row, and a turn of the event loop for each would take longer than reading it.
 */
export function treeReader(source: Repo | Transaction): TreeReader {
  const trees = new Map<Checksum, DirTree>();
  const metas = new Map<Checksum, DirMeta>();
  const read = (type: 'dirtree' | 'dirmeta', checksum: Checksum): Buffer => {
    const object = `${checksum}.${type}`;
    const path = 'locate' in source ? source.locate(type, checksum) : storedPath(source, type, checksum);
    try {
      if (path === null) throw Object.assign(new OstreeError('not-found', object), { code: 'ENOENT' });
      const data = readFileSync(path);
      assertHash(data, checksum, type);
      return data;
    } catch (cause) {
      if (systemCode(cause) !== 'ENOENT') throw cause;
      const where = 'locate' in source ? source.repo.path : source.path;
      throw new OstreeError('not-found', `${where}: No such metadata object ${object}`, { object, cause });
    }
  };
  return {
    dirTree(checksum) {
      let tree = trees.get(checksum);
      if (!tree) {
        tree = decodeDirTree(read('dirtree', checksum), `${checksum}.dirtree`);
        trees.set(checksum, tree);
      }
      return tree;
    },
    dirMeta(checksum) {
      let meta = metas.get(checksum);
      if (!meta) {
        meta = decodeDirMeta(read('dirmeta', checksum), `${checksum}.dirmeta`);
        metas.set(checksum, meta);
      }
      return meta;
    },
  };
}

/** Where a metadata object is, or would be: here, or in the parent repository that has it. */
function storedPath(repo: Repo, type: 'dirtree' | 'dirmeta', checksum: Checksum): string {
  const path = objectPath(repo, type, checksum);
  return repo.parent && !existsSync(path) ? storedPath(repo.parent, type, checksum) : path;
}

/**
 * The parts of an absolute path inside a tree; empty for the root.
 *
 * @throws OstreeError `invalid` for `..` and NUL
 */
export function pathParts(path: string): string[] {
  const parts = path.split('/').filter((part) => part !== '' && part !== '.');
  if (parts.includes('..') || path.includes('\0')) {
    throw new OstreeError('invalid', `${JSON.stringify(path)} is not a path inside a tree`);
  }
  return parts;
}

/** What is at a path: a folder, or a file's content checksum. Null when there is nothing. */
export function lookUp(
  reader: TreeReader,
  tree: Tree,
  path: string,
): { kind: 'dir'; tree: Tree } | { kind: 'file'; checksum: Checksum } | null {
  const parts = pathParts(path);
  let at = tree;
  for (const [index, part] of parts.entries()) {
    const { dirs, files } = reader.dirTree(at.contents);
    const next = dirs.get(part);
    if (next) {
      at = next;
      continue;
    }
    const file = files.get(part);
    return file && index === parts.length - 1 ? { kind: 'file', checksum: file } : null;
  }
  return { kind: 'dir', tree: at };
}

/**
 * The folder at a path inside a tree.
 *
 * @throws OstreeError `not-found`
 */
export function subtree(source: Repo | Transaction, tree: Tree, path: string): Tree {
  const found = lookUp(treeReader(source), tree, path);
  if (found?.kind === 'dir') return found.tree;
  const why = found ? 'is a file' : 'does not exist';
  throw new OstreeError('not-found', `folder ${path} ${why} in tree ${tree.contents.slice(0, 12)}`);
}
