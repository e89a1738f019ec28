import { lstatSync } from 'node:fs';
import { OstreeError } from '../errors.ts';
import type { Checksum, ObjectType, Tree } from '../formats/object-name.ts';
import { encodeSizes, type ObjectSize } from '../formats/sizes.ts';
import type { Variant } from '../gvariant/encode.ts';
import type { Transaction } from '../repo/transaction.ts';
import { type TreeReader, treeReader } from '../repo/tree-reader.ts';
import { readObjectHeader } from '../work/object-header.ts';

/**
 * The value of `ostree.sizes` for a tree: how large each of its objects is, as stored and unpacked. Only an archive
 * repository knows; elsewhere it is null, and a commit gets none, as with libostree. (For a tree laid over others,
 * libostree lists the content objects of the last one only; this lists all that the tree consists of.)
 */
export function commitSizes(tx: Transaction, tree: Tree): Variant | null {
  if (tx.repo.mode !== 'archive') return null;
  const sizes = new Map<Checksum, ObjectSize>();
  collect(tx, treeReader(tx), tree, sizes);
  return encodeSizes([...sizes.values()]);
}

function collect(tx: Transaction, reader: TreeReader, tree: Tree, sizes: Map<Checksum, ObjectSize>): void {
  addMetadata(tx, 'dirmeta', tree.meta, sizes);
  if (!addMetadata(tx, 'dirtree', tree.contents, sizes)) return;
  const { files, dirs } = reader.dirTree(tree.contents);
  for (const checksum of files.values()) {
    if (sizes.has(checksum)) continue;
    const path = locate(tx, 'file', checksum);
    const { header, size } = readObjectHeader(tx.repo, path, checksum);
    const unpacked = header.symlinkTarget === '' ? size : Buffer.byteLength(header.symlinkTarget);
    sizes.set(checksum, { checksum, type: 'file', archived: lstatSync(path).size, unpacked });
  }
  for (const dir of dirs.values()) collect(tx, reader, dir, sizes);
}

/** False when it was there already, with all below it. */
function addMetadata(
  tx: Transaction,
  type: 'dirmeta' | 'dirtree',
  checksum: Checksum,
  sizes: Map<Checksum, ObjectSize>,
): boolean {
  if (sizes.has(checksum)) return false;
  const { size } = lstatSync(locate(tx, type, checksum));
  sizes.set(checksum, { checksum, type, archived: size, unpacked: size });
  return true;
}

function locate(tx: Transaction, type: ObjectType, checksum: Checksum): string {
  const path = tx.locate(type, checksum);
  if (path) return path;
  const object = `${checksum}.${type}`;
  throw new OstreeError('not-found', `${tx.repo.path}: no object ${object}`, { object });
}
