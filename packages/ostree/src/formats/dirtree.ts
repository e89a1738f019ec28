import { OstreeError } from '../errors.ts';
import { decode } from '../gvariant/decode.ts';
import { type Checksum, checksumFromBytes, compareNames, type Tree } from './object-name.ts';
import { plainDirTree } from './plain-dirtree.ts';
import { type DirTreeEntry, writeDirTree } from './write-dirtree.ts';

/** A folder's entries: the names of files with their content checksums, of folders with their trees. */
export interface DirTree {
  files: Map<string, Checksum>;
  dirs: Map<string, Tree>;
}

/** `OSTREE_TREE_GVARIANT_FORMAT` in ostree-core.h. */
const FORMAT = '(a(say)a(sayay))';

/** Serialises a dirtree with both lists sorted. Throws `invalid` for names that cannot be file names. */
export function encodeDirTree(tree: DirTree): Buffer {
  const names = [...tree.files.keys(), ...tree.dirs.keys()];
  for (const name of names) {
    const reason = badName(name);
    if (reason) throw new OstreeError('invalid', `a folder entry cannot be named ${JSON.stringify(name)}: ${reason}`);
  }
  for (const name of tree.dirs.keys()) {
    if (tree.files.has(name)) throw new OstreeError('invalid', `${JSON.stringify(name)} is both a file and a folder`);
  }
  return writeDirTree(
    [...tree.files].map(([name, checksum]) => ({ name, checksums: [checksum] })).sort(byName),
    [...tree.dirs].map(([name, { contents, meta }]) => ({ name, checksums: [contents, meta] })).sort(byName),
  );
}

/**
 * Reads a dirtree. Refuses names that would leave the folder (`..`, `/`), duplicates and unsorted lists.
 *
 * @param object how errors name these bytes
 */
export function decodeDirTree(data: Uint8Array, object: string): DirTree {
  return plainDirTree(data) ?? strictDirTree(data, object);
}

function byName(a: DirTreeEntry, b: DirTreeEntry): number {
  return compareNames(a.name, b.name);
}

function strictDirTree(data: Uint8Array, object: string): DirTree {
  const [files, dirs] = decode(FORMAT, data, { object }) as [
    [string, Uint8Array][],
    [string, Uint8Array, Uint8Array][],
  ];
  const tree: DirTree = { files: new Map(), dirs: new Map() };
  let previous: string | undefined;
  const check = (name: string) => {
    const reason =
      badName(name) ?? (previous !== undefined && compareNames(previous, name) >= 0 ? 'out of order' : null);
    previous = name;
    if (!reason) return;
    // libostree's words for what somebody who means harm would try first.
    const message = name.includes('/') ? `Invalid / in filename ${name}` : `entry ${JSON.stringify(name)}: ${reason}`;
    throw new OstreeError('corrupt', `${object}: ${message}`, { object });
  };
  for (const [name, checksum] of files) {
    check(name);
    tree.files.set(name, checksumFromBytes(checksum, object));
  }
  previous = undefined;
  for (const [name, contents, meta] of dirs) {
    check(name);
    if (tree.files.has(name)) {
      throw new OstreeError('corrupt', `${object}: ${JSON.stringify(name)} is both a file and a folder`, { object });
    }
    tree.dirs.set(name, { contents: checksumFromBytes(contents, object), meta: checksumFromBytes(meta, object) });
  }
  return tree;
}

/** Why a name cannot be a folder entry, or null (`ot_util_filename_validate`). */
export function badName(name: string): string | null {
  if (name === '') return 'it is empty';
  if (name === '.' || name === '..') return 'it means another folder';
  if (name.includes('/')) return 'it holds a slash';
  if (name.includes('\0')) return 'it holds a NUL';
  if (name.includes('\ufffd')) return 'it is not UTF-8';
  return null;
}
