import {
  chmodSync,
  chownSync,
  closeSync,
  lstatSync,
  lutimesSync,
  mkdirSync,
  openSync,
  realpathSync,
  rmSync,
  type Stats,
} from 'node:fs';
import { join, sep } from 'node:path';
import { OstreeError, systemCode } from '../errors.ts';
import type { DirMeta } from '../formats/dirmeta.ts';
import type { Checksum, Tree } from '../formats/object-name.ts';
import { syncFilesystem, writeXattrs } from '../fs/syscalls.ts';
import { timeSlices } from '../prune/time-slices.ts';
import type { Repo } from '../repo/repo.ts';
import { FILE_COST } from '../repo/transaction.ts';
import { lookUp, type TreeReader } from '../repo/tree-reader.ts';
import { type CheckoutTarget, fileToCheckOut } from '../work/checkout-file.ts';
import { inTheWay } from '../work/place-file.ts';
import { pool } from '../work/pool.ts';
import { type IdShift, shiftedOwner, shiftedXattrs } from '../work/shifted-ids.ts';
import { type ObjectLinker, objectLinker } from './object-linker.ts';
import { chainReader, repoChain } from './repo-chain.ts';
import { makeOverlayWhiteout, OPAQUE, OVERLAY_WHITEOUT, WHITEOUT } from './whiteouts.ts';

/** How a tree is laid out in a folder. */
export interface CheckoutOptions {
  /**
   * Files belong to the caller; no extended attributes, no setuid bits. Default: true unless the caller is root, and
   * always in a bare-user-only repository.
   */
  userMode?: boolean;
  /**
   * Check out for a user namespace: owners, access lists and file capabilities are those that mean inside what the
   * tree says. Needs the right to give files away; goes without user mode, caches and hard links.
   */
  idShift?: IdShift;
  /**
   * Make files hard links to objects where the mode of the repository allows it: bare without user mode, bare-user and
   * bare-user-only with it. Do not write to such files. Empty files are always copied. Default true.
   */
  hardLink?: boolean;
  /** With hardLink: fail rather than copy. */
  requireHardLinks?: boolean;
  /**
   * What to do with what exists already: `none` refuses (default), `overwrite` replaces files, `add` keeps those that
   * are there, `identical` refuses files that differ. Folders that exist keep their attributes.
   */
  union?: 'none' | 'overwrite' | 'add' | 'identical';
  /**
   * Treat the tree as a layer of a container image: `.wh.NAME` removes NAME, `.wh..wh..opq` empties its folder, and with
   * `overwrite` files and folders replace each other.
   */
  whiteouts?: boolean;
  /** Make `.ostree-wh.NAME` the overlayfs whiteout NAME, a character device 0:0. Needs the right to make one. */
  overlayWhiteouts?: boolean;
  /** Check out only this folder or file of the tree. Default `/`. */
  subpath?: string;
  /** Return false to leave out a path, and what is below it. Paths begin with a slash, at the folder checked out. */
  filter?: (path: string) => boolean;
  /** Take permissions beyond 0775 off folders. Always so in a bare-user-only repository. */
  plainFolders?: boolean;
  /**
   * In user mode, unpack objects of an archive repository into its `uncompressed-objects-cache` and link to them, as
   * `ostree checkout -U` does. Default false.
   */
  cache?: boolean;
  /**
   * A folder in which unpacked copies of objects are kept from one checkout to the next; files become hard links to
   * them, where it is on the same file system. Unlike other links they may be written to: no copy is linked to two files
   * at once, and one that was used is hashed before it is used again. For one owner's checkouts only.
   */
  exclusiveCache?: string;
  /** Flush the file system when all is there. Default false: a checkout can be made again. */
  fsync?: boolean;
  signal?: AbortSignal;
  /** Told now and then how many files and bytes are there. */
  onProgress?: (progress: CheckoutStats) => void;
}

/** What a checkout did. */
export interface CheckoutStats {
  files: number;
  /** Bytes of content written. */
  bytes: number;
}

/** Linking is a few system calls for each file: batches are large, so that messages do not count. */
const BATCH_FILES = 256;

/**
 * Writes a tree into a folder. Modification times are 0, as libostree's are, so that a checkout depends on
 * nothing but the tree. If it fails midway, what was written stays; check out into a new folder and rename it.
 * Objects that the repository lacks are looked for in its parent repository (`core.parent`).
 *
 * @throws OstreeError `exists`, `not-found` (subpath, object), `corrupt`, `unsupported` (hard links that are required)
 */
export async function checkout(
  repo: Repo,
  tree: Tree,
  to: string,
  options: CheckoutOptions = {},
): Promise<CheckoutStats> {
  const repos = await repoChain(repo);
  const { union = 'none', whiteouts = false } = options;
  const existing = { none: 'refuse', overwrite: 'replace', add: 'keep', identical: 'identical' } as const;
  const target: CheckoutTarget = {
    repos: repos.map(({ path, mode, ignoreXattrs }) => ({ path, mode, ignoreXattrs })),
    userMode: repo.mode === 'bare-user-only' || (options.userMode ?? (process.getuid?.() !== 0 && !options.idShift)),
    links: options.requireHardLinks ? 'require' : options.hardLink === false || options.idShift ? 'never' : 'prefer',
    cache: options.cache ?? false,
    exclusiveCache: options.idShift ? undefined : options.exclusiveCache,
    idShift: options.idShift,
    placement: { existing: existing[union], replaceFolders: whiteouts && union === 'overwrite' },
  };
  const job = new CheckoutJob(repo, chainReader(repos), target, { ...options, to });
  const found = lookUp(job.reader, tree, options.subpath ?? '/');
  if (!found) throw new OstreeError('not-found', `No such file or directory: ${options.subpath}`);
  if (found.kind === 'file') await job.singleFile(found.checksum, options.subpath!);
  else await job.root(found.tree);
  const stats = await job.finish();
  if (options.fsync) flush(to);
  return stats;
}

function flush(folder: string): void {
  const fd = openSync(folder, 'r');
  try {
    syncFilesystem(fd);
  } finally {
    closeSync(fd);
  }
}

class CheckoutJob {
  readonly reader: TreeReader;
  readonly #repo: Repo;
  readonly #target: CheckoutTarget;
  readonly #options: CheckoutOptions & { to: string };
  readonly #stats: CheckoutStats = { files: 0, bytes: 0 };
  readonly #folders: { path: string; meta: DirMeta }[] = [];
  readonly #linker: ObjectLinker | null;
  readonly #pause: () => Promise<void> | undefined;
  readonly #running = new Set<Promise<void>>();
  #batch: string[] = [];
  #failure: Error | undefined;

  constructor(repo: Repo, reader: TreeReader, target: CheckoutTarget, options: CheckoutOptions & { to: string }) {
    this.reader = reader;
    this.#repo = repo;
    this.#target = target;
    this.#options = options;
    this.#linker = target.userMode && target.links !== 'never' ? objectLinker(repo) : null;
    this.#pause = timeSlices(options.signal);
  }

  async singleFile(checksum: Checksum, subpath: string): Promise<void> {
    const { to } = this.#options;
    mkdirSync(to, { recursive: true });
    this.#file(checksum, join(to, subpath.slice(subpath.lastIndexOf('/') + 1)));
  }

  async root(tree: Tree): Promise<void> {
    await this.#folder(tree, this.#options.to, '/');
  }

  async #folder(tree: Tree, path: string, relative: string): Promise<void> {
    const { filter, whiteouts, overlayWhiteouts } = this.#options;
    const meta = this.reader.dirMeta(tree.meta);
    const { files, dirs } = this.reader.dirTree(tree.contents);
    if (whiteouts && files.has(OPAQUE)) rmSync(path, { recursive: true, force: true });
    this.#makeFolder(path, relative === '/', meta);
    // A layer's whiteouts are about what was there before it.
    if (whiteouts) {
      for (const name of files.keys()) {
        if (name.startsWith(WHITEOUT) && name.length > WHITEOUT.length && !(filter && !filter(below(relative, name)))) {
          rmSync(join(path, name.slice(WHITEOUT.length)), { recursive: true, force: true });
        }
      }
    }
    this.#linker?.enter(path);
    for (const [name, checksum] of files) {
      if (filter && !filter(below(relative, name))) continue;
      if (whiteouts && name.startsWith(WHITEOUT)) continue;
      if (overlayWhiteouts && name.startsWith(OVERLAY_WHITEOUT)) {
        makeOverlayWhiteout(this.#repo, this.#target, checksum, join(path, name.slice(OVERLAY_WHITEOUT.length)));
      } else if (this.#linker?.link(checksum, name)) this.#stats.files++;
      else if (this.#file(checksum, `${path}/${name}`)) await this.#send();
    }
    const pause = this.#pause();
    if (pause) {
      this.#options.onProgress?.(this.#stats);
      await pause;
    }
    for (const [name, child] of dirs) {
      const inner = below(relative, name);
      if (!filter || filter(inner)) await this.#folder(child, `${path}/${name}`, inner);
    }
  }

  /** Makes a folder that can be written to; its own attributes come last, from the innermost folder out. */
  #makeFolder(path: string, isRoot: boolean, meta: DirMeta): void {
    const { union = 'none', to } = this.#options;
    if (union === 'none' && !isRoot && madeFolder(path)) {
      this.#folders.push({ path, meta });
      return;
    }
    let existing: Stats | undefined = lstatSync(path, { throwIfNoEntry: false });
    if (existing?.isSymbolicLink() && union !== 'none') existing = followed(path, isRoot ? null : to) ?? existing;
    if (existing && !existing.isDirectory() && this.#target.placement.replaceFolders) {
      rmSync(path);
      existing = undefined;
    }
    if (existing && (union === 'none' || !existing.isDirectory())) {
      throw inTheWay(path, existing.isDirectory() ? undefined : 'not a folder');
    }
    if (existing) return;
    mkdirSync(path, { mode: 0o700, recursive: isRoot });
    this.#folders.push({ path, meta });
    const { requireHardLinks } = this.#options;
    if (isRoot && requireHardLinks && lstatSync(path).dev !== lstatSync(this.#repo.path).dev) {
      throw new OstreeError(
        'unsupported',
        `Unable to do hardlink checkout across devices (${this.#repo.path}, ${path})`,
      );
    }
  }

  /** True when there are enough for a worker. */
  #file(checksum: Checksum, to: string): boolean {
    return this.#batch.push(fileToCheckOut(checksum, to)) >= BATCH_FILES;
  }

  /** Gives the batch to the workers, and waits while they have enough. */
  async #send(): Promise<void> {
    const count = this.#batch.length;
    if (count === 0) return;
    const files = this.#batch.join('');
    this.#batch = [];
    // Links are made here, one after the other: threads would wait for one another in the file system's journal.
    const isLinking = this.#repo.mode !== 'archive' && this.#target.links !== 'never';
    const cost = isLinking ? 0 : count * 4 * FILE_COST;
    const work = pool.run({ kind: 'check-out-files', target: this.#target, files }, cost).then(
      (bytes) => {
        this.#stats.files += count;
        this.#stats.bytes += bytes;
        this.#options.onProgress?.(this.#stats);
      },
      (error: Error) => {
        this.#failure ??= error;
      },
    );
    this.#running.add(work);
    void work.then(() => this.#running.delete(work));
    while (this.#running.size >= 3 * pool.size) await Promise.race(this.#running);
    if (this.#failure) throw this.#failure;
    this.#options.signal?.throwIfAborted();
  }

  async finish(): Promise<CheckoutStats> {
    await this.#send();
    await Promise.all(this.#running);
    if (this.#failure) throw this.#failure;
    const bits = this.#options.plainFolders || this.#repo.mode === 'bare-user-only' ? 0o775 : 0o7777;
    for (const { path, meta } of this.#folders.reverse()) {
      if (!this.#target.userMode) {
        const { idShift } = this.#target;
        const { uid, gid } = idShift ? shiftedOwner(idShift, meta, path) : meta;
        chownSync(path, uid, gid);
        writeXattrs(path, idShift ? shiftedXattrs(meta.xattrs, idShift) : meta.xattrs);
      }
      chmodSync(path, meta.mode & bits);
      lutimesSync(path, 0, 0);
    }
    return this.#stats;
  }
}

/** Makes a folder where there is nothing; false where there is something. */
function madeFolder(path: string): boolean {
  try {
    mkdirSync(path, { mode: 0o700 });
    return true;
  } catch (error) {
    if (systemCode(error) !== 'EEXIST') throw error;
    return false;
  }
}

function below(relative: string, name: string): string {
  return relative === '/' ? `/${name}` : `${relative}/${name}`;
}

/** What a symlink in the way of a folder leads to, if that is inside the checkout (`lib -> usr/lib`). */
function followed(path: string, root: string | null): Stats | undefined {
  try {
    const real = realpathSync(path);
    if (root !== null && !real.startsWith(realpathSync(root) + sep)) return undefined;
    return lstatSync(real);
  } catch {
    return undefined; // it leads nowhere
  }
}
