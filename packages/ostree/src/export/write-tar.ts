import type { Writable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { OstreeError } from '../errors.ts';
import { S_IFLNK, S_IFMT } from '../formats/mode.ts';
import type { Checksum, Tree } from '../formats/object-name.ts';
import { readFileObject } from '../repo/objects.ts';
import type { Repo } from '../repo/repo.ts';
import { lookUp, type TreeReader, treeReader } from '../repo/tree-reader.ts';
import { tarEnd, tarHeader, tarPadding } from './tar-writer.ts';

/** What of a tree goes into an archive, and under which names. */
export interface ExportTarOptions {
  /** Export only this folder of the tree. Default `/`. */
  subpath?: string;
  /** Put before every path as it is: with a slash at its end it is a folder. */
  prefix?: string;
  /** Keep extended attributes. Default true. */
  xattrs?: boolean;
  /** Modification time of all entries, in seconds since 1970. Default 0; `ostree export` takes the commit's. */
  mtime?: number;
  signal?: AbortSignal;
}

/**
 * Writes a tree as a tar archive (ustar with pax headers where needed; extended attributes as `SCHILY.xattr.*`). Files of
 * the same content and attributes are hard links to the first, as in `ostree export`; committed again it is the same
 * tree. Content is streamed.
 *
 * @param output is ended, also on failure
 * @throws OstreeError `not-found` (subpath, object), `corrupt` for content that is not as long as it should be
 */
export async function exportTar(
  repo: Repo,
  tree: Tree,
  output: Writable,
  options: ExportTarOptions = {},
): Promise<void> {
  const found = lookUp(treeReader(repo), tree, options.subpath ?? '/');
  if (found?.kind !== 'dir') {
    const why = found ? 'Not a directory' : 'No such file or directory';
    throw new OstreeError('not-found', `${why}: ${options.subpath}`);
  }
  const archive = new Archive(repo, options).entries(found.tree);
  await pipeline(archive, output, options.signal ? { signal: options.signal } : {});
}

class Archive {
  readonly #repo: Repo;
  readonly #reader: TreeReader;
  readonly #options: ExportTarOptions;
  /** Paths by checksum, of the first file of each. */
  readonly #seen = new Map<Checksum, string>();

  constructor(repo: Repo, options: ExportTarOptions) {
    this.#repo = repo;
    this.#reader = treeReader(repo);
    this.#options = options;
  }

  async *entries(tree: Tree): AsyncGenerator<Uint8Array> {
    const { prefix = '' } = this.#options;
    yield* this.#folder(tree, prefix === '' ? '.' : prefix, prefix);
    yield tarEnd();
  }

  /** @param inside what names of its entries come after */
  async *#folder(tree: Tree, path: string, inside: string): AsyncGenerator<Uint8Array> {
    const meta = this.#reader.dirMeta(tree.meta);
    const { uid, gid, mode } = meta;
    yield tarHeader({ path, kind: 'folder', mode, uid, gid, size: 0, ...this.#extra(meta.xattrs) });
    const { files, dirs } = this.#reader.dirTree(tree.contents);
    for (const [name, checksum] of files) yield* this.#file(checksum, inside + name);
    for (const [name, dir] of dirs) yield* this.#folder(dir, inside + name, `${inside}${name}/`);
  }

  async *#file(checksum: Checksum, path: string): AsyncGenerator<Uint8Array> {
    const file = await readFileObject(this.#repo, checksum);
    const { uid, gid, mode, symlinkTarget, xattrs } = file.header;
    const common = { path, mode, uid, gid, ...this.#extra(xattrs) };
    if ((mode & S_IFMT) === S_IFLNK) {
      yield tarHeader({ ...common, kind: 'symlink', size: 0, target: symlinkTarget });
      return;
    }
    const first = this.#seen.get(checksum);
    if (first !== undefined) {
      yield tarHeader({ ...common, kind: 'link', size: 0, target: first, xattrs: [] });
      return;
    }
    this.#seen.set(checksum, path);
    yield tarHeader({ ...common, kind: 'file', size: file.size });
    let left = file.size;
    for await (const chunk of file.content() as AsyncIterable<Buffer>) {
      left -= chunk.length;
      if (left < 0) break;
      yield chunk;
    }
    if (left !== 0) {
      const object = `${checksum}.file`;
      throw new OstreeError('corrupt', `${object}: its content is not ${file.size} bytes long`, { object });
    }
    yield tarPadding(file.size);
  }

  #extra(xattrs: readonly [Uint8Array, Uint8Array][]) {
    const { xattrs: keep = true, mtime = 0 } = this.#options;
    return { mtime, xattrs: keep ? xattrs : [] };
  }
}
