import { lstatSync, readdirSync, type Stats } from 'node:fs';
import { join } from 'node:path';
import { OstreeError } from '../errors.ts';
import { badName, type DirTree } from '../formats/dirtree.ts';
import { S_IFDIR, S_IFMT, S_IFREG } from '../formats/mode.ts';
import type { Checksum, Tree } from '../formats/object-name.ts';
import { readXattrs } from '../fs/syscalls.ts';
import type { Transaction } from '../repo/transaction.ts';
import { pool } from '../work/pool.ts';
import { changed, type FileToStore } from '../work/store-file.ts';
import { openStatCache, type StatCache } from './stat-cache.ts';

export interface WriteFolderOptions {
  /** Owner of everything, instead of the files' own. */
  owner?: { uid: number; gid: number };
  /** Owner 0:0, permissions `mode & 0755`, no setuid bits: what `ostree commit --canonical-permissions` does. */
  canonicalPermissions?: boolean;
  /** Store extended attributes. Default true, except in a bare-user-only repository. */
  xattrs?: boolean;
  /** Return false to leave a path (relative, with a leading slash) and everything below it out. */
  filter?: (path: string, stats: Stats) => boolean;
  /**
   * Remember checksums by device, inode, size, mtime and ctime, so that an unchanged tree is not read again.
   * Default true. See stat-cache.ts for when an entry is not trusted.
   */
  statCache?: boolean;
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
  if (!root) throw new OstreeError('not-found', `${folder}: no such folder`);
  if (!root.isDirectory()) throw new OstreeError('invalid', `${folder}: not a folder`);
  const cache = options.statCache === false ? null : openStatCache(tx.repo, folder);
  const walk = new Walk(tx, options, cache);
  const tree = await walk.folder(folder, '/', root);
  await walk.finish();
  const result = tree();
  cache?.save();
  return result;
}

/** One walk over a folder: files go to workers in batches while the walk goes on. */
class Walk {
  readonly #tx: Transaction;
  readonly #options: WriteFolderOptions;
  readonly #cache: StatCache | null;
  readonly #xattrs: boolean;
  #batch: { file: FileToStore; stats: Stats; tree: DirTree; name: string }[] = [];
  #batchBytes = 0;
  #running = new Set<Promise<void>>();
  #failure: Error | undefined;
  #files = 0;
  #bytes = 0;
  readonly #metas = new Map<string, Checksum>();

  constructor(tx: Transaction, options: WriteFolderOptions, cache: StatCache | null) {
    this.#tx = tx;
    this.#options = options;
    this.#cache = cache;
    this.#xattrs = options.xattrs ?? tx.repo.mode !== 'bare-user-only';
  }

  /** Walks a folder; the function returned writes its dirtree once all files are stored. */
  async folder(path: string, relative: string, stats: Stats): Promise<() => Tree> {
    const tree: DirTree = { files: new Map(), dirs: new Map() };
    const children: [string, () => Tree][] = [];
    for (const entry of readdirSync(path, { withFileTypes: true })) {
      const { name } = entry;
      const inner = join(path, name);
      const reason = badName(name);
      if (reason) throw new OstreeError('unsupported', `${inner}: cannot be stored: its name: ${reason}`);
      const found = lstatSync(inner, { throwIfNoEntry: false });
      if (!found) throw changed(inner);
      const below = relative === '/' ? `/${name}` : `${relative}/${name}`;
      if (this.#options.filter && !this.#options.filter(below, found)) continue;
      if (found.isDirectory()) children.push([name, await this.folder(inner, below, found)]);
      else if (found.isFile() || found.isSymbolicLink()) await this.#file(inner, name, found, tree);
      else {
        throw new OstreeError('unsupported', `${inner}: is a device, socket or pipe`, {
          hint: 'OSTree stores folders, files and symlinks. Leave it out, or make it at boot (tmpfiles.d, udev).',
        });
      }
    }
    const meta = this.#meta(path, stats);
    return () => {
      for (const [name, child] of children) tree.dirs.set(name, child());
      return { contents: this.#tx.writeDirTree(tree), meta };
    };
  }

  #meta(path: string, stats: Stats): Checksum {
    const attributes = { ...this.#attributes(stats), xattrs: this.#xattrs ? readXattrs(path) : [] };
    const { uid, gid, mode, xattrs } = attributes;
    const key = xattrs.length === 0 ? `${uid}:${gid}:${mode}` : null;
    const known = key && this.#metas.get(key);
    if (known) return known;
    const checksum = this.#tx.writeDirMeta(attributes);
    if (key) this.#metas.set(key, checksum);
    return checksum;
  }

  #attributes(stats: Stats): { uid: number; gid: number; mode: number } {
    const { canonicalPermissions, owner } = this.#options;
    const type = stats.mode & S_IFMT;
    if (canonicalPermissions || this.#tx.repo.mode === 'bare-user-only') {
      const mode = type === S_IFREG || type === S_IFDIR ? stats.mode & (type | 0o755) : stats.mode;
      return { uid: 0, gid: 0, mode };
    }
    return { uid: owner?.uid ?? stats.uid, gid: owner?.gid ?? stats.gid, mode: stats.mode };
  }

  async #file(path: string, name: string, stats: Stats, tree: DirTree): Promise<void> {
    const attributes = this.#attributes(stats);
    const known = this.#cache?.lookUp(stats, attributes, this.#xattrs);
    if (known && this.#tx.has('file', known)) {
      tree.files.set(name, known);
      this.#tx.countKnown();
      this.#progress(stats.size);
      return;
    }
    tree.files.set(name, ''); // holds its place; replaced when its batch is back
    const size = stats.isSymbolicLink() ? 0 : stats.size;
    this.#batch.push({ file: { path, ...attributes, size, xattrs: this.#xattrs }, stats, tree, name });
    this.#batchBytes += size;
    if (this.#batch.length >= BATCH_FILES || this.#batchBytes >= BATCH_BYTES) {
      this.#send();
      // A few batches ahead keep the workers busy; more would only take memory.
      while (this.#running.size >= 3 * pool.size) await Promise.race(this.#running);
      if (this.#failure) throw this.#failure;
      this.#tx.signal?.throwIfAborted();
    }
  }

  #send(): void {
    const batch = this.#batch;
    if (batch.length === 0) return;
    this.#batch = [];
    this.#batchBytes = 0;
    const started = Date.now();
    const work = this.#tx.storeFiles(batch.map(({ file }) => file)).then(
      (stored) => {
        for (const [index, { checksum }] of stored.entries()) {
          const { file, stats, tree, name } = batch[index]!;
          tree.files.set(name, checksum);
          this.#cache?.remember(stats, file, this.#xattrs, checksum, started);
          this.#progress(file.size);
        }
      },
      (error: Error) => {
        this.#failure ??= error;
      },
    );
    this.#running.add(work);
    void work.then(() => this.#running.delete(work));
  }

  async finish(): Promise<void> {
    this.#send();
    await Promise.all(this.#running);
    if (this.#failure) throw this.#failure;
  }

  #progress(bytes: number): void {
    this.#files++;
    this.#bytes += bytes;
    this.#options.onProgress?.({ files: this.#files, bytes: this.#bytes });
  }
}
