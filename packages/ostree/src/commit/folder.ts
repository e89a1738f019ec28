import { lstatSync, readdirSync, type Stats } from 'node:fs';
import { join } from 'node:path';
import { OstreeError } from '../errors.ts';
import { badName, type DirTree } from '../formats/dirtree.ts';
import type { Checksum, Tree } from '../formats/object-name.ts';
import { readXattrs, type Xattr } from '../fs/syscalls.ts';
import { objectPath } from '../repo/objects.ts';
import type { Transaction } from '../repo/transaction.ts';
import { readBareObject } from '../work/bare-object.ts';
import { pool } from '../work/pool.ts';
import { changed, type FileToStore } from '../work/store-file.ts';
import type { ConsumedPaths } from './consumed.ts';
import { linkKey, type ObjectLinks } from './hard-links.ts';
import { type Attributes, type Modifier, type ModifierOptions, modifierOf } from './modifier.ts';
import { openStatCache, type StatCache } from './stat-cache.ts';

export interface WriteFolderOptions extends ModifierOptions {
  /** Return false to leave a path (relative, with a leading slash) and everything below it out. */
  filter?: (path: string, stats: Stats) => boolean;
  /**
   * Remember checksums by device, inode, size, mtime and ctime, so that an unchanged tree is not read again.
   * Default true. See stat-cache.ts for when an entry is not trusted.
   */
  statCache?: boolean;
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
  const tree = await walk.root(folder, root);
  await walk.finish();
  const result = tree();
  cache?.save();
  return result;
}

/** One walk over a folder: files go to workers in batches while the walk goes on. */
class Walk {
  readonly #tx: Transaction;
  readonly #options: WriteFolderOptions;
  readonly #modifier: Modifier;
  readonly #cache: StatCache | null;
  readonly #xattrs: boolean;
  readonly #device: number;
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
    this.#modifier = modifierOf(options, tx.repo.mode, 'tree');
    this.#cache = cache;
    this.#xattrs = !tx.repo.ignoreXattrs && this.#modifier.xattrs;
    this.#device = lstatSync(tx.repo.path).dev;
  }

  async root(path: string, stats: Stats): Promise<() => Tree> {
    const attributes = this.#modifier.apply('/', stats);
    if (!attributes) throw new OstreeError('invalid', "Can't commit an empty tree");
    return this.#folder(path, '/', attributes);
  }

  /** Walks a folder; the function returned writes its dirtree once all files are stored. */
  async #folder(path: string, relative: string, attributes: Attributes): Promise<() => Tree> {
    const { filter, consumed } = this.#options;
    consumed?.add(path, 'folder');
    const tree: DirTree = { files: new Map(), dirs: new Map() };
    const children: [string, () => Tree][] = [];
    for (const name of readNames(path)) {
      const inner = join(path, name);
      const found = lstatSync(inner, { throwIfNoEntry: false });
      if (!found) throw changed(inner);
      const below = relative === '/' ? `/${name}` : `${relative}/${name}`;
      if (filter && !filter(below, found)) continue;
      if (found.isDirectory()) {
        const wanted = this.#modifier.enter(below, found);
        if (wanted) children.push([name, await this.#folder(inner, below, wanted)]);
        else consumed?.add(inner, 'all');
      } else if (found.isFile() || found.isSymbolicLink()) {
        this.#file(inner, below, found, tree);
        if (this.#batch.length >= BATCH_FILES || this.#batchBytes >= BATCH_BYTES) await this.#send();
      } else {
        throw new OstreeError('unsupported', `${inner}: Not a regular file or symlink`, {
          hint: 'OSTree stores folders, files and symlinks. Leave it out, or make it at boot (tmpfiles.d, udev).',
        });
      }
    }
    const meta = this.#meta(path, attributes);
    return () => {
      for (const [name, child] of children) tree.dirs.set(name, child());
      return { contents: this.#tx.writeDirTree(tree), meta };
    };
  }

  #meta(path: string, { uid, gid, mode }: Attributes): Checksum {
    const xattrs = this.#xattrs ? readXattrs(path) : [];
    const key = xattrs.length === 0 ? `${uid}:${gid}:${mode}` : null;
    const known = key && this.#metas.get(key);
    if (known) return known;
    const checksum = this.#tx.writeDirMeta({ uid, gid, mode, xattrs });
    if (key) this.#metas.set(key, checksum);
    return checksum;
  }

  #file(path: string, relative: string, stats: Stats, tree: DirTree): void {
    const name = relative.slice(relative.lastIndexOf('/') + 1);
    this.#options.consumed?.add(path, 'file');
    const linked = this.#options.links?.get(linkKey(stats));
    if (linked && this.#options.linksAreFinal) {
      this.#known(tree, name, linked, stats);
      return;
    }
    const own = linked && this.#tx.repo.mode === 'bare-user' ? this.#objectAttributes(linked) : null;
    const before = own ?? stats;
    const attributes = this.#modifier.apply(relative, before);
    if (!attributes) return;
    const { uid, gid, mode } = attributes;
    const same = uid === before.uid && gid === before.gid && mode === before.mode;
    if (linked && same && this.#keepsXattrs(path, own?.xattrs)) {
      this.#known(tree, name, linked, stats);
      return;
    }
    const known = own ? undefined : this.#cache?.lookUp(stats, attributes, this.#xattrs);
    if (known && this.#tx.has('file', known)) {
      this.#known(tree, name, known, stats);
      return;
    }
    tree.files.set(name, ''); // holds its place; replaced when its batch is back
    const size = stats.isSymbolicLink() ? 0 : stats.size;
    const xattrs = this.#xattrs ? (own?.xattrs ?? true) : false;
    const adopt = this.#options.consumed !== undefined && stats.isFile() && this.#canAdopt(stats, same, linked);
    this.#batch.push({ file: { path, uid, gid, mode, size, xattrs, ...(adopt ? { adopt } : {}) }, stats, tree, name });
    this.#batchBytes += size;
  }

  #known(tree: DirTree, name: string, checksum: Checksum, stats: Stats): void {
    tree.files.set(name, checksum);
    this.#tx.countKnown();
    this.#progress(stats.size);
  }

  /** A file of a bare-user checkout has other attributes than the object that it is a link to. */
  #objectAttributes(checksum: Checksum): { uid: number; gid: number; mode: number; xattrs: readonly Xattr[] } {
    const { repo } = this.#tx;
    return readBareObject(repo, objectPath(repo, 'file', checksum), `${checksum}.file`).header;
  }

  #keepsXattrs(path: string, own: readonly Xattr[] | undefined): boolean {
    if (this.#xattrs || this.#tx.repo.ignoreXattrs || this.#tx.repo.mode === 'bare-user-only') return true;
    return (own ?? readXattrs(path)).length === 0;
  }

  /** Whether the file itself can be the object: nothing but its name, permissions and time would differ. */
  #canAdopt(stats: Stats, same: boolean, linked: Checksum | undefined): boolean {
    if (linked || stats.dev !== this.#device) return false;
    const { mode } = this.#tx.repo;
    return mode === 'bare-user-only' || (mode === 'bare' && same && this.#xattrs);
  }

  /** Gives the batch to the workers, and waits while they have a few: more would only take memory. */
  async #send(): Promise<void> {
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
          // What a link is to be committed as is the object's, not the file's own.
          if (typeof file.xattrs === 'boolean') this.#cache?.remember(stats, file, this.#xattrs, checksum, started);
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

/** The names in a folder. Throws `unsupported` for one that no dirtree can hold. */
function readNames(path: string): string[] {
  const names = readdirSync(path);
  for (const name of names) {
    const reason = badName(name);
    if (reason === null) continue;
    const message = name.includes('\ufffd') ? 'Invalid UTF-8 in filename' : `cannot be stored: its name: ${reason}`;
    throw new OstreeError('unsupported', `${join(path, name)}: ${message}`);
  }
  return names;
}
