import type { Checksum, Tree } from '../formats/object-name.ts';
import type { Transaction } from '../repo/transaction.ts';
import { type TreeReader, treeReader } from '../repo/tree-reader.ts';
import { MutableFolder } from './mutable-tree.ts';

/** The three sides of a merge of `/etc`. */
export interface EtcSides {
  /** What the old system came with: its `/usr/etc`. */
  base: Tree;
  /** What is there now: the machine's `/etc`, with whatever was changed by hand. */
  ours: Tree;
  /** What the new system comes with: its `/usr/etc`. */
  theirs: Tree;
}

/** What a three-way merge of `/etc` made. */
export interface EtcMerge {
  tree: Tree;
  /** Paths that were changed by hand and by the new system, each in another way. What was changed by hand is kept. */
  conflicts: string[];
}

/**
 * Merges `/etc` when a system is replaced, as libostree does when it deploys: the result is what the new system comes
 * with, and in it all that was added, changed or removed by hand. A change by hand always wins; where the new system
 * changed the same thing, too, the path is reported. A file counts as changed when its content, owner, permissions or
 * attributes are others. Works by checksum: folders that are the same on two sides are not read.
 *
 * The one place where libostree gives up is settled here, too: a folder by hand in the place of what is a file in the
 * new system (or the reverse) replaces it, and is a conflict.
 */
export async function mergeEtc(tx: Transaction, { base, ours, theirs }: EtcSides): Promise<EtcMerge> {
  const reader = treeReader(tx);
  const merge = new Merge(reader);
  const root = merge.folders(base, ours, theirs, '');
  return { tree: root instanceof MutableFolder ? root.write(tx) : root, conflicts: merge.conflicts };
}

type Entry = { kind: 'file'; checksum: Checksum } | { kind: 'dir'; tree: Tree };

class Merge {
  readonly #reader: TreeReader;
  readonly conflicts: string[] = [];

  constructor(reader: TreeReader) {
    this.#reader = reader;
  }

  folders(base: Tree | null, ours: Tree, theirs: Tree, path: string): Tree | MutableFolder {
    if (same(ours, theirs) || (base && same(base, ours))) return theirs;
    if (base && same(base, theirs)) return ours;
    const result = new MutableFolder(this.#reader, theirs);
    // Attributes of the folder itself are a change of their own.
    if (base?.meta !== ours.meta) {
      if (ours.meta !== theirs.meta && base?.meta !== theirs.meta) this.conflicts.push(path || '/');
      result.meta = ours.meta;
    }
    const before = base ? this.#entries(base) : new Map<string, Entry>();
    const mine = this.#entries(ours);
    const theirOwn = this.#entries(theirs);
    for (const [name, entry] of mine) this.#changed(result, name, before.get(name), entry, theirOwn.get(name), path);
    for (const [name, entry] of before) {
      if (mine.has(name)) continue;
      const now = theirOwn.get(name);
      if (now && !equal(entry, now)) this.conflicts.push(`${path}/${name}`);
      result.delete(name);
    }
    return result;
  }

  /** Brings what was added or changed by hand into the result. */
  #changed(
    result: MutableFolder,
    name: string,
    before: Entry | undefined,
    mine: Entry,
    theirs: Entry | undefined,
    path: string,
  ): void {
    const here = `${path}/${name}`;
    if (before && equal(before, mine)) return;
    if (theirs && equal(mine, theirs)) return;
    if (mine.kind === 'dir' && theirs?.kind === 'dir') {
      const inner = this.folders(before?.kind === 'dir' ? before.tree : null, mine.tree, theirs.tree, here);
      result.setFolder(name, inner);
      return;
    }
    // Removed by the new system, or changed by it, while somebody had changed it here.
    if (before ? !theirs || !equal(before, theirs) : theirs) this.conflicts.push(here);
    if (mine.kind === 'file') result.setFile(name, mine.checksum);
    else if (before?.kind === 'dir' && !theirs) this.#keepChanged(result, name, before.tree, mine.tree);
    else result.setFolder(name, mine.tree);
  }

  /** Of a folder that the new system does not have any more, what was changed by hand in it stays. */
  #keepChanged(result: MutableFolder, name: string, before: Tree, mine: Tree): void {
    const folder = result.makeFolder(name);
    folder.meta = mine.meta;
    const was = this.#entries(before);
    for (const [inner, entry] of this.#entries(mine)) {
      const old = was.get(inner);
      if (old && equal(old, entry)) continue;
      if (entry.kind === 'file') folder.setFile(inner, entry.checksum);
      else if (old?.kind === 'dir') this.#keepChanged(folder, inner, old.tree, entry.tree);
      else folder.setFolder(inner, entry.tree);
    }
  }

  #entries(tree: Tree): Map<string, Entry> {
    const { files, dirs } = this.#reader.dirTree(tree.contents);
    const entries = new Map<string, Entry>();
    for (const [name, checksum] of files) entries.set(name, { kind: 'file', checksum });
    for (const [name, dir] of dirs) entries.set(name, { kind: 'dir', tree: dir });
    return entries;
  }
}

function same(a: Tree, b: Tree): boolean {
  return a.contents === b.contents && a.meta === b.meta;
}

function equal(a: Entry, b: Entry): boolean {
  if (a.kind === 'file') return b.kind === 'file' && a.checksum === b.checksum;
  return b.kind === 'dir' && same(a.tree, b.tree);
}
