import { OstreeError } from '../errors.ts';
import { badName } from '../formats/dirtree.ts';
import { S_IFLNK, S_IFMT } from '../formats/mode.ts';
import type { Checksum, Tree } from '../formats/object-name.ts';
import type { Transaction } from '../repo/transaction.ts';
import { lookUp, pathParts, type TreeReader, treeReader } from '../repo/tree-reader.ts';
import { readObjectHeader } from '../work/object-header.ts';
import { MutableFolder } from './mutable-tree.ts';

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

/** How trees are merged. */
export interface ComposeOptions {
  /**
   * What happens where one tree has a folder and another a file or symlink: `later` takes what comes later (default),
   * unless that is a folder over a symlink; `refuse` is an error, as it is to `ostree commit` with several trees.
   */
  conflicts?: 'later' | 'refuse';
}

/**
 * Merges trees in order; where two have the same path the later wins, for permissions of folders too. Works by
 * checksum: a subtree that only one layer has is taken over without being read.
 *
 * A folder put over a symlink is refused. It would replace `/lib -> usr/lib` by a folder with a single file, and
 * nobody wants that.
 *
 * @throws OstreeError `not-found` for a path to take or remove that does not exist, `invalid` for bad paths, a
 *   folder over a symlink, and with `conflicts: 'refuse'` for a file over a folder or the reverse
 */
export async function compose(tx: Transaction, layers: readonly Layer[], options: ComposeOptions = {}): Promise<Tree> {
  const reader = treeReader(tx);
  const composition = new Composition(tx, reader, options.conflicts === 'refuse');
  let root: MutableFolder | null = null;
  for (const layer of layers) {
    if ('remove' in layer) {
      root ??= new MutableFolder(reader, tx.emptyTree());
      composition.remove(root, pathParts(layer.remove), layer.remove);
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
    if (at.length === 0 && root === null && found.kind === 'dir') root = new MutableFolder(reader, found.tree);
    else {
      root ??= new MutableFolder(reader, tx.emptyTree());
      composition.place(root, at, found);
    }
  }
  return root ? root.write(tx) : tx.emptyTree();
}

type Found = { kind: 'dir'; tree: Tree } | { kind: 'file'; checksum: Checksum };

class Composition {
  readonly #tx: Transaction;
  readonly #reader: TreeReader;
  readonly #refuse: boolean;

  constructor(tx: Transaction, reader: TreeReader, refuse: boolean) {
    this.#tx = tx;
    this.#reader = reader;
    this.#refuse = refuse;
  }

  place(root: MutableFolder, at: readonly string[], what: Found): void {
    const name = at.at(-1);
    if (name === undefined) {
      if (what.kind === 'file') {
        throw new OstreeError('invalid', 'compose: a file cannot be put at /', {
          hint: 'Say the file name too: at: /etc/hostname',
        });
      }
      this.#merge(root, what.tree, '');
      return;
    }
    let folder = root;
    let path = '';
    for (const part of at.slice(0, -1)) {
      path += `/${part}`;
      folder = folder.folder(part) ?? this.#makeFolder(folder, part, path);
    }
    if (what.kind === 'file') this.#putFile(folder, name, what.checksum);
    else this.#putFolder(folder, name, what.tree, `${path}/${name}`);
  }

  #makeFolder(parent: MutableFolder, name: string, path: string): MutableFolder {
    this.#assertNoFile(parent, name, path);
    const made = new MutableFolder(this.#reader, this.#tx.emptyTree());
    parent.setFolder(name, made);
    return made;
  }

  #merge(base: MutableFolder, over: Tree, path: string): void {
    base.meta = over.meta;
    if (base.isStored(over.contents)) return;
    const later = this.#reader.dirTree(over.contents);
    for (const [name, checksum] of later.files) this.#putFile(base, name, checksum);
    for (const [name, tree] of later.dirs) this.#putFolder(base, name, tree, `${path}/${name}`);
  }

  #putFile(folder: MutableFolder, name: string, checksum: Checksum): void {
    if (this.#refuse && folder.hasFolder(name)) {
      throw new OstreeError('invalid', `Can't replace directory with file: ${name}`);
    }
    if (folder.file(name) !== checksum) folder.setFile(name, checksum);
  }

  #putFolder(folder: MutableFolder, name: string, tree: Tree, path: string): void {
    const existing = folder.folder(name);
    if (existing) this.#merge(existing, tree, path);
    else {
      this.#assertNoFile(folder, name, path);
      folder.setFolder(name, tree);
    }
  }

  #assertNoFile(folder: MutableFolder, name: string, path: string): void {
    const file = folder.file(name);
    if (file === undefined) return;
    if (this.#refuse) throw new OstreeError('invalid', `Can't replace file with directory: ${name}`);
    if (typeof file === 'string') refuseSymlink(this.#tx, file, path);
  }

  remove(root: MutableFolder, at: readonly string[], whole: string): void {
    const name = at.at(-1);
    if (name === undefined) {
      throw new OstreeError('invalid', `compose: cannot remove ${JSON.stringify(whole)}, the root`);
    }
    let folder: MutableFolder | undefined = root;
    for (const part of at.slice(0, -1)) folder = folder?.folder(part);
    if (!folder?.delete(name)) {
      throw new OstreeError('not-found', `compose: cannot remove ${whole}: it does not exist`);
    }
  }
}

function refuseSymlink(tx: Transaction, checksum: Checksum, path: string): void {
  const object = tx.locate('file', checksum);
  if (!object || (readObjectHeader(tx.repo, object, checksum).header.mode & S_IFMT) !== S_IFLNK) return;
  throw new OstreeError('invalid', `compose: ${path} is a symlink in an earlier layer and a folder in a later one`, {
    hint: `Put the later layer where the symlink leads, or remove ${path} first.`,
  });
}
