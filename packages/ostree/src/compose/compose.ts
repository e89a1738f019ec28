import { lstatSync, readFileSync } from 'node:fs';
import { OstreeError } from '../errors.ts';
import { badName, type DirTree } from '../formats/dirtree.ts';
import { decodeFilezHeader } from '../formats/file.ts';
import { S_IFLNK, S_IFMT } from '../formats/mode.ts';
import type { Checksum, Tree } from '../formats/object-name.ts';
import type { Transaction } from '../repo/transaction.ts';
import { lookUp, pathParts, type TreeReader, treeReader } from '../repo/tree-reader.ts';

/** One step of a composition: put a tree somewhere, or remove a path. */
export type Layer =
  | {
      tree: Tree;
      /** Folder or file inside the tree to take. Default `/`, all of it. */
      from?: string;
      /** Path to put it at. Default `/`. Missing parents are made, root:root 0755. */
      at?: string;
    }
  | { remove: string };

/**
 * Merges trees in order; where two have the same path the later wins, for permissions of folders too. Works by
 * checksum: a subtree that only one layer has is taken over without being read.
 *
 * A folder put over a symlink is refused. It would replace `/lib -> usr/lib` by a folder with a single file, and
 * nobody wants that.
 *
 * @throws OstreeError `not-found` for a path to take or remove that does not exist, `invalid` for bad paths and a
 *   folder over a symlink
 */
export async function compose(tx: Transaction, layers: readonly Layer[]): Promise<Tree> {
  const reader = treeReader(tx);
  let result: Tree | null = null;
  for (const layer of layers) {
    if ('remove' in layer) {
      result = remove(tx, reader, result ?? tx.emptyTree(), pathParts(layer.remove), layer.remove);
      continue;
    }
    const from = layer.from ?? '/';
    const found = lookUp(reader, layer.tree, from);
    if (!found) {
      throw new OstreeError('not-found', `compose: ${from} does not exist in tree ${layer.tree.contents.slice(0, 12)}`);
    }
    const at = pathParts(layer.at ?? '/');
    for (const part of at) {
      const reason = badName(part);
      if (reason) throw new OstreeError('invalid', `compose: cannot put anything at ${layer.at}: ${reason}`);
    }
    if (at.length === 0 && result === null && found.kind === 'dir') result = found.tree;
    else result = place(tx, reader, result ?? tx.emptyTree(), at, found, '');
  }
  return result ?? tx.emptyTree();
}

type Found = { kind: 'dir'; tree: Tree } | { kind: 'file'; checksum: Checksum };

function place(tx: Transaction, reader: TreeReader, base: Tree, at: string[], what: Found, path: string): Tree {
  const [name, ...rest] = at;
  if (name === undefined) {
    if (what.kind === 'dir') return merge(tx, reader, base, what.tree, path);
    throw new OstreeError('invalid', `compose: a file cannot be put at ${path || '/'}`, {
      hint: 'Say the file name too: at: /etc/hostname',
    });
  }
  const entries = copy(reader.dirTree(base.contents));
  const here = `${path}/${name}`;
  if (rest.length === 0 && what.kind === 'file') {
    entries.dirs.delete(name);
    entries.files.set(name, what.checksum);
  } else {
    refuseSymlink(tx, entries.files.get(name), here);
    entries.files.delete(name);
    const existing = entries.dirs.get(name);
    const placed =
      !existing && rest.length === 0 && what.kind === 'dir'
        ? what.tree
        : place(tx, reader, existing ?? tx.emptyTree(), rest, what, here);
    entries.dirs.set(name, placed);
  }
  return { contents: tx.writeDirTree(entries), meta: base.meta };
}

function merge(tx: Transaction, reader: TreeReader, base: Tree, over: Tree, path: string): Tree {
  if (base.contents === over.contents) return over;
  const entries = copy(reader.dirTree(base.contents));
  const later = reader.dirTree(over.contents);
  for (const [name, checksum] of later.files) {
    entries.dirs.delete(name);
    entries.files.set(name, checksum);
  }
  for (const [name, tree] of later.dirs) {
    const here = `${path}/${name}`;
    refuseSymlink(tx, entries.files.get(name), here);
    entries.files.delete(name);
    const existing = entries.dirs.get(name);
    entries.dirs.set(name, existing ? merge(tx, reader, existing, tree, here) : tree);
  }
  return { contents: tx.writeDirTree(entries), meta: over.meta };
}

function remove(tx: Transaction, reader: TreeReader, base: Tree, at: string[], whole: string): Tree {
  const [name, ...rest] = at;
  if (name === undefined) throw new OstreeError('invalid', `compose: cannot remove ${JSON.stringify(whole)}, the root`);
  const entries = copy(reader.dirTree(base.contents));
  const dir = entries.dirs.get(name);
  if (rest.length > 0 && dir) entries.dirs.set(name, remove(tx, reader, dir, rest, whole));
  else if (rest.length > 0 || (!entries.dirs.delete(name) && !entries.files.delete(name))) {
    throw new OstreeError('not-found', `compose: cannot remove ${whole}: it does not exist`);
  }
  return { contents: tx.writeDirTree(entries), meta: base.meta };
}

function copy({ files, dirs }: DirTree): DirTree {
  return { files: new Map(files), dirs: new Map(dirs) };
}

function refuseSymlink(tx: Transaction, checksum: Checksum | undefined, path: string): void {
  const object = checksum && tx.locate('file', checksum);
  if (!object) return;
  const mode =
    tx.repo.mode === 'archive'
      ? decodeFilezHeader(readFileSync(object), `${checksum}.filez`).header.mode
      : lstatSync(object).mode;
  if ((mode & S_IFMT) !== S_IFLNK) return;
  throw new OstreeError('invalid', `compose: ${path} is a symlink in an earlier layer and a folder in a later one`, {
    hint: `Put the later layer where the symlink leads, or remove ${path} first.`,
  });
}
