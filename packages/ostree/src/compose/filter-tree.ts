import type { Tree } from '../formats/object-name.ts';
import type { Transaction } from '../repo/transaction.ts';
import { type TreeReader, treeReader } from '../repo/tree-reader.ts';

/**
 * The part of a tree whose files are wanted. Folders that lose all they held are left out; folders are not asked
 * about, so an untouched one costs reading its entries and no more.
 *
 * @param keep is given each file's path without a leading slash, as in `src/main.py`
 */
export async function filterTree(tx: Transaction, tree: Tree, keep: (path: string) => boolean): Promise<Tree> {
  const reader = treeReader(tx);
  return filter(tx, reader, tree, '', keep) ?? { contents: tx.emptyTree().contents, meta: tree.meta };
}

function filter(
  tx: Transaction,
  reader: TreeReader,
  tree: Tree,
  path: string,
  keep: (path: string) => boolean,
): Tree | null {
  const { files, dirs } = reader.dirTree(tree.contents);
  const kept = { files: new Map(files), dirs: new Map(dirs) };
  let same = true;
  for (const name of files.keys()) {
    if (!keep(path + name)) same = !kept.files.delete(name);
  }
  for (const [name, dir] of dirs) {
    const inner = filter(tx, reader, dir, `${path}${name}/`, keep);
    if (inner === null) kept.dirs.delete(name);
    else kept.dirs.set(name, inner);
    same &&= inner?.contents === dir.contents;
  }
  if (kept.files.size === 0 && kept.dirs.size === 0) return null;
  return same ? tree : { contents: tx.writeDirTree(kept), meta: tree.meta };
}
