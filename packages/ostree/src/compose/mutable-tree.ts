import { OstreeError } from '../errors.ts';
import type { Checksum, Tree } from '../formats/object-name.ts';
import type { Transaction } from '../repo/transaction.ts';
import type { TreeReader } from '../repo/tree-reader.ts';

/** A file whose checksum may not be known yet: its content is still being stored. */
export interface FileNode {
  checksum: Checksum;
}

type Entry = Checksum | FileNode;

/**
 * A folder that is being changed, on top of a stored one or from nothing. Stored folders are read when somebody looks
 * into them, and only those that differ at the end are written, so the cost is that of what is touched.
 */
export class MutableFolder {
  /** Its dirmeta. Null for a folder that only came to be because something is in it. */
  meta: Checksum | null;
  readonly #reader: TreeReader;
  /** What is stored of it; null when that does not count any more. */
  #stored: Checksum | null;
  #files: Map<string, Entry> | null;
  #dirs: Map<string, Tree | MutableFolder> | null;

  /** @param tree the stored folder to begin with; null for an empty one without attributes */
  constructor(reader: TreeReader, tree: Tree | null) {
    this.#reader = reader;
    this.meta = tree?.meta ?? null;
    this.#stored = tree?.contents ?? null;
    this.#files = tree ? null : new Map();
    this.#dirs = tree ? null : new Map();
  }

  #load(): { files: Map<string, Entry>; dirs: Map<string, Tree | MutableFolder> } {
    if (!this.#files || !this.#dirs) {
      const { files, dirs } = this.#reader.dirTree(this.#stored!);
      this.#files = new Map(files);
      this.#dirs = new Map(dirs);
    }
    return { files: this.#files, dirs: this.#dirs };
  }

  /** Whether its entries are exactly those of a stored dirtree, as far as can be said without reading. */
  isStored(contents: Checksum): boolean {
    return this.#stored === contents && !this.#dirs;
  }

  get isEmpty(): boolean {
    const { files, dirs } = this.#load();
    return files.size === 0 && dirs.size === 0;
  }

  names(): string[] {
    const { files, dirs } = this.#load();
    return [...files.keys(), ...dirs.keys()];
  }

  file(name: string): Entry | undefined {
    return this.#load().files.get(name);
  }

  folder(name: string): MutableFolder | undefined {
    const { dirs } = this.#load();
    const found = dirs.get(name);
    if (!found || found instanceof MutableFolder) return found;
    const folder = new MutableFolder(this.#reader, found);
    dirs.set(name, folder);
    return folder;
  }

  hasFolder(name: string): boolean {
    return this.#load().dirs.has(name);
  }

  /** Puts a file in the place of whatever has the name. */
  setFile(name: string, entry: Entry): void {
    const { files, dirs } = this.#load();
    dirs.delete(name);
    files.set(name, entry);
    this.#stored = null;
  }

  /** Puts a folder in the place of whatever has the name. */
  setFolder(name: string, folder: Tree | MutableFolder): void {
    const { files, dirs } = this.#load();
    files.delete(name);
    dirs.set(name, folder);
    this.#stored = null;
  }

  /** A new folder without attributes in the place of whatever has the name. */
  makeFolder(name: string): MutableFolder {
    const folder = new MutableFolder(this.#reader, null);
    this.setFolder(name, folder);
    return folder;
  }

  /** False when there is nothing of this name. */
  delete(name: string): boolean {
    const { files, dirs } = this.#load();
    const existed = files.delete(name) || dirs.delete(name);
    if (existed) this.#stored = null;
    return existed;
  }

  clear(): void {
    this.#files = new Map();
    this.#dirs = new Map();
    this.#stored = null;
  }

  /**
   * Writes the folders that changed.
   *
   * @param fileOf is asked for each file that was added by its node
   * @throws OstreeError `invalid` for a folder without attributes
   */
  write(tx: Transaction, fileOf: (node: FileNode) => Checksum = ({ checksum }) => checksum): Tree {
    const { meta } = this;
    if (meta === null) throw new OstreeError('invalid', "Can't commit an empty tree");
    if (!this.#files || !this.#dirs) return { contents: this.#stored!, meta };
    const dirs = new Map<string, Tree>();
    const before = this.#stored === null ? null : this.#reader.dirTree(this.#stored).dirs;
    let same = before !== null;
    for (const [name, dir] of this.#dirs) {
      const written = dir instanceof MutableFolder ? dir.write(tx, fileOf) : dir;
      dirs.set(name, written);
      const was = before?.get(name);
      same &&= was?.contents === written.contents && was.meta === written.meta;
    }
    if (same) return { contents: this.#stored!, meta };
    const files = new Map<string, Checksum>();
    for (const [name, file] of this.#files) files.set(name, typeof file === 'string' ? file : fileOf(file));
    return { contents: tx.writeDirTree({ files, dirs }), meta };
  }
}
