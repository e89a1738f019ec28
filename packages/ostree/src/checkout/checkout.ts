import { chmodSync, chownSync, lstatSync, lutimesSync, mkdirSync, rmSync, type Stats, statSync } from 'node:fs';
import { join } from 'node:path';
import { OstreeError } from '../errors.ts';
import type { DirMeta } from '../formats/dirmeta.ts';
import type { Checksum, Tree } from '../formats/object-name.ts';
import { writeXattrs } from '../fs/syscalls.ts';
import { objectPath } from '../repo/objects.ts';
import type { Repo } from '../repo/repo.ts';
import { FILE_COST } from '../repo/transaction.ts';
import { lookUp, type TreeReader, treeReader } from '../repo/tree-reader.ts';
import type { CheckoutTarget, FileToCheckOut } from '../work/checkout-file.ts';
import { pool } from '../work/pool.ts';

export interface CheckoutOptions {
  /**
   * Files belong to the caller; no extended attributes, no setuid bits. Default: true unless the caller is root.
   * In a bare-user-only repository it also means hard links to the objects: do not write to them.
   */
  userMode?: boolean;
  /** Hard-link from a bare-user-only repository. Default: as userMode. */
  hardLink?: boolean;
  /**
   * What to do when the folder exists: `none` refuses (default), `overwrite` replaces files, `add` keeps those
   * that are there.
   */
  union?: 'none' | 'overwrite' | 'add';
  /** Check out only this folder or file of the tree. Default `/`. */
  subpath?: string;
  signal?: AbortSignal;
  onProgress?: (progress: CheckoutStats) => void;
}

export interface CheckoutStats {
  files: number;
  /** Bytes of content written. */
  bytes: number;
}

const BATCH_FILES = 64;

/**
 * Writes a tree into a folder. Modification times are 0, as libostree's are, so that a checkout depends on
 * nothing but the tree. If it fails midway, what was written stays; check out into a new folder and rename it.
 *
 * @throws OstreeError `exists`, `not-found` (subpath, object), `corrupt`
 */
export async function checkout(
  repo: Repo,
  tree: Tree,
  to: string,
  options: CheckoutOptions = {},
): Promise<CheckoutStats> {
  const userMode = options.userMode ?? process.getuid?.() !== 0;
  const target: CheckoutTarget = {
    mode: repo.mode,
    ignoreXattrs: repo.ignoreXattrs,
    userMode,
    hardLink: repo.mode === 'bare-user-only' && (options.hardLink ?? userMode),
  };
  const job = new CheckoutJob(repo, target, options);
  const found = lookUp(job.reader, tree, options.subpath ?? '/');
  if (!found) throw new OstreeError('not-found', `${options.subpath} does not exist in the tree`);
  if (found.kind === 'file') await job.singleFile(found.checksum, to, options.subpath!);
  else await job.folder(found.tree, to, true);
  return job.finish();
}

class CheckoutJob {
  readonly reader: TreeReader;
  readonly #repo: Repo;
  readonly #target: CheckoutTarget;
  readonly #options: CheckoutOptions;
  readonly #stats: CheckoutStats = { files: 0, bytes: 0 };
  readonly #folders: { path: string; meta: DirMeta }[] = [];
  readonly #running = new Set<Promise<void>>();
  #batch: FileToCheckOut[] = [];
  #failure: Error | undefined;

  constructor(repo: Repo, target: CheckoutTarget, options: CheckoutOptions) {
    this.reader = treeReader(repo);
    this.#repo = repo;
    this.#target = target;
    this.#options = options;
  }

  async singleFile(checksum: Checksum, to: string, subpath: string): Promise<void> {
    mkdirSync(to, { recursive: true });
    await this.#file(checksum, join(to, subpath.slice(subpath.lastIndexOf('/') + 1)));
  }

  async folder(tree: Tree, path: string, isRoot: boolean): Promise<void> {
    const union = this.#options.union ?? 'none';
    // Only the folder that was named may be a symlink to one; inside it, a symlink could lead anywhere.
    const existing = (isRoot ? statSync : lstatSync)(path, { throwIfNoEntry: false });
    const meta = this.reader.dirMeta(tree.meta);
    if (!existing) mkdirSync(path, { mode: 0o700, recursive: isRoot });
    else if (!existing.isDirectory() || union === 'none') throw inTheWay(path, existing, 'a folder');
    // Writable while files are made in it; its own attributes come last, from the innermost folder out.
    if (!existing || union === 'overwrite') this.#folders.push({ path, meta });
    if (existing?.isDirectory() && union === 'overwrite') chmodSync(path, 0o700);
    const { files, dirs } = this.reader.dirTree(tree.contents);
    for (const [name, checksum] of files) await this.#file(checksum, join(path, name));
    for (const [name, child] of dirs) await this.folder(child, join(path, name), false);
  }

  async #file(checksum: Checksum, to: string): Promise<void> {
    const { union } = this.#options;
    if (union === 'overwrite' || union === 'add') {
      const existing = lstatSync(to, { throwIfNoEntry: false });
      if (existing?.isDirectory()) throw inTheWay(to, existing, 'a file');
      if (existing && union === 'add') return;
      if (existing) rmSync(to);
    }
    this.#batch.push({ checksum, object: objectPath(this.#repo, 'file', checksum), to });
    if (this.#batch.length < BATCH_FILES) return;
    this.#send();
    while (this.#running.size >= 3 * pool.size) await Promise.race(this.#running);
    if (this.#failure) throw this.#failure;
    this.#options.signal?.throwIfAborted();
  }

  #send(): void {
    const files = this.#batch;
    if (files.length === 0) return;
    this.#batch = [];
    const cost = files.length * 4 * FILE_COST;
    const work = pool.run({ kind: 'check-out-files', target: this.#target, files }, cost).then(
      (bytes) => {
        this.#stats.files += files.length;
        this.#stats.bytes += bytes;
        this.#options.onProgress?.(this.#stats);
      },
      (error: Error) => {
        this.#failure ??= error;
      },
    );
    this.#running.add(work);
    void work.then(() => this.#running.delete(work));
  }

  async finish(): Promise<CheckoutStats> {
    this.#send();
    await Promise.all(this.#running);
    if (this.#failure) throw this.#failure;
    for (const { path, meta } of this.#folders.reverse()) {
      if (!this.#target.userMode) {
        chownSync(path, meta.uid, meta.gid);
        writeXattrs(path, meta.xattrs);
      }
      chmodSync(path, meta.mode & (this.#target.userMode ? 0o1777 : 0o7777));
      lutimesSync(path, 0, 0);
    }
    return this.#stats;
  }
}

/** Union replaces files by files and fills folders; it never removes a folder, nor puts one in the place of a file. */
function inTheWay(path: string, existing: Stats, wanted: string): OstreeError {
  const what = existing.isDirectory() ? 'a folder' : 'a file';
  return new OstreeError('exists', `${path}: ${what} is in the way of ${wanted}`, {
    hint: 'Check out into a folder that does not exist, or say what to do with what is there (union).',
  });
}
