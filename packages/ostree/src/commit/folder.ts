import { lstatSync, type Stats } from 'node:fs';
import { OstreeError } from '../errors.ts';
import type { DirTree } from '../formats/dirtree.ts';
import type { Checksum, Tree } from '../formats/object-name.ts';
import type { Transaction } from '../repo/transaction.ts';
import { pool } from '../work/pool.ts';
import type { FileToStore } from '../work/store-file.ts';
import type { ConsumedPaths } from './consumed.ts';
import { type FolderEntry, FolderReader } from './folder-entries.ts';
import {
  type FolderIndex,
  type FolderRecord,
  FolderSnapshot,
  knownEntries,
  openFolderIndex,
  openIndexFile,
} from './folder-index.ts';
import type { ObjectLinks } from './hard-links.ts';
import { type CheckedOut, type LostAttributes, lostAttributes } from './lost-attributes.ts';
import { type Attributes, type Modifier, type ModifierOptions, modifierOf } from './modifier.ts';
import { type EntryCheck, eachRecorded, entryCheck } from './unchanged-entries.ts';

export interface WriteFolderOptions extends ModifierOptions {
  /** Return false to leave a path (relative, with a leading slash) and everything below it out. */
  filter?: (path: string, stats: Stats) => boolean;
  /**
   * Remember checksums by device, inode, size, mtime and ctime, so that an unchanged tree is not read again.
   * Default true. See folder-index.ts for when an entry is not trusted.
   */
  statCache?: boolean;
  /** Remember them in this file instead, in which indexCheckout may have put what was checked out. */
  indexFile?: string;
  /** The folder is a checkout in user mode: what of its files such a checkout cannot have is taken from there. */
  checkedOut?: CheckedOut;
  /**
   * A tree that is whole in this repository and cannot be deleted meanwhile: that of a commit that a ref names. When it
   * is what the folder was the last time, its objects need not be looked for one by one.
   */
  base?: Tree | null;
  /**
   * Take files that are hard links to objects for these objects, without reading them, unless they are to get other
   * attributes. What was written into such a file is not seen. In a bare-user repository their owners and attributes
   * are the objects'.
   */
  links?: ObjectLinks;
  /** With `links`: take them for what they link to, whatever they should have been modified to. */
  linksAreFinal?: boolean;
  /**
   * Gathers what to delete after the transaction. In bare and bare-user-only repositories files become objects without
   * being copied, where that gives the same object.
   */
  consumed?: ConsumedPaths;
  /** Told now and then how many files and bytes were looked at. */
  onProgress?: (progress: { files: number; bytes: number }) => void;
}

/** A batch goes to a worker when it holds this many files or bytes. */
const BATCH_FILES = 128;
const BATCH_BYTES = 8 * 1024 * 1024;

/**
 * Stores a folder with everything below it: files, symlinks, permissions, owners, extended attributes. Devices,
 * sockets and pipes are refused, as libostree refuses them.
 *
 * @returns the tree; make a commit of it with writeCommit
 * @throws OstreeError `not-found`, `unsupported` (a device, a name that is not UTF-8), `changed`, `io`
 */
export async function writeFolder(tx: Transaction, folder: string, options: WriteFolderOptions = {}): Promise<Tree> {
  const root = lstatSync(folder, { throwIfNoEntry: false });
  if (!root) throw new OstreeError('not-found', `${folder}: No such file or directory`);
  if (!root.isDirectory()) throw new OstreeError('invalid', `${folder}: not a folder`);
  const walk = new Walk(tx, folder, options);
  const tree = await walk.root(folder, root);
  await walk.finish();
  return tree();
}

/** Walks on what it found in a folder once all of its files are stored. */
type Finish = () => { contents: Checksum; same: boolean };

/** One walk over a folder: files go to workers in batches while the walk goes on. */
class Walk {
  readonly #tx: Transaction;
  readonly #options: WriteFolderOptions;
  readonly #modifier: Modifier;
  readonly #index: FolderIndex | null;
  /** All that the index knows is in the repository. */
  readonly #complete: boolean;
  readonly #reader: FolderReader;
  readonly #lost: LostAttributes | null;
  #batch: { file: FileToStore; tree: DirTree; name: string }[] = [];
  #batchBytes = 0;
  #running = new Set<Promise<void>>();
  #failure: Error | undefined;
  #files = 0;
  #bytes = 0;
  readonly #metas = new Map<string, Checksum>();
  /** Null where entries have to be looked at one by one. */
  readonly #check: EntryCheck | null;

  constructor(tx: Transaction, folder: string, options: WriteFolderOptions) {
    this.#tx = tx;
    this.#options = options;
    this.#modifier = modifierOf(options, tx.repo.mode, 'tree');
    this.#reader = new FolderReader(tx.repo, options, this.#modifier);
    const { statCache, indexFile, checkedOut } = options;
    if (statCache === false) this.#index = null;
    else this.#index = indexFile ? openIndexFile(indexFile) : openFolderIndex(tx.repo, folder, this.#reader.xattrs);
    this.#lost = checkedOut ? lostAttributes(tx.repo, checkedOut) : null;
    this.#complete = this.#index?.root !== null && this.#index?.root === options.base?.contents;
    const { filter, links, consumed } = options;
    const plain = this.#modifier.neutral && !this.#lost && !filter && !links && !consumed;
    this.#check = plain && this.#complete ? entryCheck() : null;
  }

  async root(path: string, stats: Stats): Promise<() => Tree> {
    const attributes = this.#modifier.apply('/', stats);
    if (!attributes) throw new OstreeError('invalid', "Can't commit an empty tree");
    const finish = await this.#folder(path, '/');
    const meta = this.#meta(path, '/', attributes);
    return () => {
      const { contents } = finish();
      this.#index?.save(contents);
      return { contents, meta };
    };
  }

  /** @param settled the folder itself is what it was when the index was saved */
  async #folder(path: string, relative: string, settled = false): Promise<Finish> {
    const record = this.#index?.find(relative);
    if (settled && record && this.#check?.(path, record)) return this.#unchanged(path, relative, record);
    this.#options.consumed?.add(path, 'folder');
    const seen = new FolderSnapshot();
    const entries = this.#reader.entries(path, relative, seen);
    const unchanged = this.#complete && record !== undefined && seen.equals(record);
    seen.detach(unchanged ? record : undefined);
    const known = unchanged || !record ? [] : knownEntries(record, seen);
    const tree: DirTree = { files: new Map(), dirs: new Map() };
    const children: { name: string; meta: Checksum; finish: Finish }[] = [];
    for (const [index, entry] of entries.entries()) {
      const { name, stats, attributes } = entry;
      const inner = `${path === '/' ? '' : path}/${name}`;
      if (stats.isDirectory()) {
        const below = relative === '/' ? `/${name}` : `${relative}/${name}`;
        const meta = unchanged
          ? record.checksums.toString('hex', 32 * index, 32 * index + 32)
          : (this.#stored('dirmeta', known[index]) ?? this.#meta(inner, below, attributes));
        const settled = unchanged || known[index] !== undefined;
        children.push({ name, meta, finish: await this.#folder(inner, below, settled) });
        continue;
      }
      const checksum = entry.linked ?? (unchanged ? '' : this.#stored('file', known[index]));
      if (checksum === undefined)
        this.#store(inner, relative === '/' ? `/${name}` : `${relative}/${name}`, entry, tree);
      else {
        if (!unchanged) tree.files.set(name, checksum);
        this.#tx.countKnown();
        this.#progress(stats.size);
      }
      if (this.#batch.length >= BATCH_FILES || this.#batchBytes >= BATCH_BYTES) await this.#send();
    }
    return () => {
      let same = unchanged;
      for (const { name, meta, finish } of children) {
        const child = finish();
        same &&= child.same;
        tree.dirs.set(name, { contents: child.contents, meta });
      }
      if (same) {
        this.#index!.keep(relative, record!);
        return { contents: record!.contents, same };
      }
      if (unchanged) fillFiles(tree, entries, record);
      const contents = this.#tx.writeDirTree(tree);
      this.#index?.put(relative, seen, checksumsOf(entries, tree), contents);
      return { contents, same };
    };
  }

  /** A folder that is what its record says, in which folders may have changed. */
  async #unchanged(path: string, relative: string, record: FolderRecord): Promise<Finish> {
    const folders: { name: string; meta: Checksum }[] = [];
    eachRecorded(record, (entry) => {
      if (entry.isFolder) folders.push({ name: entry.name(), meta: entry.checksum() });
      else {
        this.#tx.countKnown();
        this.#progress(entry.size);
      }
    });
    const children: { name: string; meta: Checksum; finish: Finish }[] = [];
    for (const { name, meta } of folders) {
      const below = relative === '/' ? `/${name}` : `${relative}/${name}`;
      children.push({ name, meta, finish: await this.#folder(`${path}/${name}`, below, true) });
    }
    return () => {
      let same = true;
      const dirs = new Map<string, Tree>();
      for (const { name, meta, finish } of children) {
        const child = finish();
        same &&= child.same;
        dirs.set(name, { contents: child.contents, meta });
      }
      if (same) {
        this.#index!.keep(relative, record);
        return { contents: record.contents, same };
      }
      const files = new Map<string, Checksum>();
      eachRecorded(record, (entry) => {
        if (!entry.isFolder) files.set(entry.name(), entry.checksum());
      });
      const contents = this.#tx.writeDirTree({ files, dirs });
      this.#index!.keepEntries(record, contents);
      return { contents, same };
    };
  }

  /** What an index says, if the object is there. */
  #stored(type: 'file' | 'dirmeta', checksum: Checksum | undefined): Checksum | undefined {
    return checksum !== undefined && (this.#complete || this.#tx.has(type, checksum)) ? checksum : undefined;
  }

  #meta(path: string, relative: string, attributes: Attributes): Checksum {
    if (this.#lost) return this.#tx.writeDirMeta(this.#lost.folder(relative, attributes.mode));
    const { uid, gid, mode } = attributes;
    const xattrs = this.#reader.xattrs ? this.#reader.readXattrs(path) : [];
    const key = xattrs.length === 0 ? `${uid}:${gid}:${mode}` : null;
    const known = key && this.#metas.get(key);
    if (known) return known;
    const checksum = this.#tx.writeDirMeta({ uid, gid, mode, xattrs });
    if (key) this.#metas.set(key, checksum);
    return checksum;
  }

  #store(path: string, relative: string, { name, stats, attributes, xattrs, adopt }: FolderEntry, tree: DirTree): void {
    const { uid, gid, mode } = attributes;
    const size = stats.isSymbolicLink() ? 0 : stats.size;
    tree.files.set(name, ''); // holds its place; replaced when its batch is back
    const own = { uid, gid, mode, xattrs: xattrs ?? this.#reader.xattrs };
    const file = { path, size, ...(this.#lost?.file(relative, path, mode) ?? own), ...(adopt ? { adopt } : {}) };
    this.#batch.push({ file, tree, name });
    this.#batchBytes += size;
  }

  /** Gives the batch to the workers, and waits while they have a few: more would only take memory. */
  async #send(): Promise<void> {
    const batch = this.#batch;
    if (batch.length === 0) return;
    this.#batch = [];
    this.#batchBytes = 0;
    const work = this.#tx.storeFiles(batch.map(({ file }) => file)).then(
      (stored) => {
        for (const [index, { checksum }] of stored.entries()) {
          const { file, tree, name } = batch[index]!;
          tree.files.set(name, checksum);
          this.#progress(file.size);
        }
      },
      (error: Error) => {
        this.#failure ??= error;
      },
    );
    this.#running.add(work);
    void work.then(() => this.#running.delete(work));
    while (this.#running.size >= 3 * pool.size) await Promise.race(this.#running);
    if (this.#failure) throw this.#failure;
    this.#tx.signal?.throwIfAborted();
  }

  async finish(): Promise<void> {
    await this.#send();
    await Promise.all(this.#running);
    if (this.#failure) throw this.#failure;
  }

  #progress(bytes: number): void {
    this.#files++;
    this.#bytes += bytes;
    this.#options.onProgress?.({ files: this.#files, bytes: this.#bytes });
  }
}

/** Takes the files of a folder of which only folders below it changed from its record. */
function fillFiles(tree: DirTree, entries: FolderEntry[], { checksums }: FolderRecord): void {
  for (const [index, { name, stats }] of entries.entries()) {
    if (!stats.isDirectory()) tree.files.set(name, checksums.toString('hex', 32 * index, 32 * index + 32));
  }
}

function checksumsOf(entries: FolderEntry[], tree: DirTree): Buffer {
  const checksums = Buffer.allocUnsafe(32 * entries.length);
  for (const [index, { name }] of entries.entries()) {
    checksums.write(tree.files.get(name) ?? tree.dirs.get(name)!.meta, 32 * index, 'hex');
  }
  return checksums;
}
