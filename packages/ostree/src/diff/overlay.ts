import type { Readable, Writable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { type WriteTarOptions, writeTar } from '../commit/tar.ts';
import { compose, type Layer } from '../compose/compose.ts';
import { OstreeError } from '../errors.ts';
import { tarEnd, tarHeader, tarPadding } from '../export/tar-writer.ts';
import type { DirMeta } from '../formats/dirmeta.ts';
import { S_IFMT, S_IFREG } from '../formats/mode.ts';
import type { Tree } from '../formats/object-name.ts';
import type { Transaction } from '../repo/transaction.ts';
import { lookUp, treeReader } from '../repo/tree-reader.ts';
import type { Change, FileNode } from './diff.ts';
import { type DiffSide, openSide, type SideFolder } from './side.ts';

/** What an overlay says of what was removed. */
export interface OverlayOptions {
  /** Write `.wh.<name>` entries for what was removed. Default true. */
  whiteouts?: boolean;
  signal?: AbortSignal;
}

/** What marks a removed name in a layer of a container image, and the folder whose earlier content does not count. */
const WHITEOUT = '.wh.';
const OPAQUE = '.wh..wh..opq';

/**
 * Writes what was added and changed as a tar archive: an overlay that makes the tree before into the tree after.
 * Owners, all permission bits and extended attributes are kept (as pax `SCHILY.xattr.*`), content is streamed. The
 * folders that lead to a change are in it too, with their attributes in the tree after, and parents come before what is
 * in them. What was removed is an empty file `.wh.<name>`, as in a layer of a container image; `applyOverlay` and
 * `treeline repo commit --tree=overlay=FILE` understand it, `--tree=tar=FILE` of stock `ostree` takes it for a file.
 *
 * @param after the side that `changes` lead to
 * @param changes from diffTrees or diffSides, in their order
 * @param output is ended, also on failure
 * @throws OstreeError `unsupported` for devices, and for a file whose own name starts with `.wh.`
 */
export async function exportOverlay(
  after: DiffSide,
  changes: readonly Change[],
  output: Writable,
  options: OverlayOptions = {},
): Promise<void> {
  await pipeline(overlay(after, changes, options), output, options.signal ? { signal: options.signal } : {});
}

async function* overlay(
  after: DiffSide,
  changes: readonly Change[],
  { whiteouts = true }: OverlayOptions,
): AsyncGenerator<Uint8Array> {
  const root = openSide(after);
  const folders = new Folders(root);
  yield folderEntry('./', root.meta());
  let gone = '\0';
  for (const change of changes) {
    const { path, kind } = change;
    if (path === '/') continue;
    if (path.startsWith(gone)) continue;
    const [parents, name] = split(path);
    // Below what is no folder any more there is nothing to say.
    const replaced = change.before?.type === 'dir' && change.after?.type !== 'dir';
    if (replaced) gone = `${path}/`;
    if (name.startsWith(WHITEOUT)) {
      throw new OstreeError('unsupported', `${path}: in an overlay this name would mean that a file is removed`);
    }
    yield* folders.enter(parents);
    const typeDiffers = change.before && change.after && change.before.type !== change.after.type;
    if (kind === 'removed' || typeDiffers) {
      if (whiteouts) yield whiteout([...parents, `${WHITEOUT}${name}`].join('/'));
    }
    if (!change.after) continue;
    if (change.after.type === 'dir') yield* folders.enter([...parents, name]);
    else yield* fileEntry(path.slice(1), change.after);
  }
  yield tarEnd();
}

/** Writes each folder once, on the way to the first thing in it. */
class Folders {
  readonly #written = new Map<string, SideFolder>();

  constructor(root: SideFolder) {
    this.#written.set('', root);
  }

  *enter(parts: readonly string[]): Generator<Uint8Array> {
    let path = '';
    let folder = this.#written.get('')!;
    for (const part of parts) {
      path = path === '' ? part : `${path}/${part}`;
      let inner = this.#written.get(path);
      if (!inner) {
        inner = folder.list().dirs.get(part);
        if (!inner) throw new OstreeError('invalid', `/${path}: is no folder on the side that the changes lead to`);
        this.#written.set(path, inner);
        yield folderEntry(path, inner.meta());
      }
      folder = inner;
    }
  }
}

function folderEntry(path: string, { mode, uid, gid, xattrs }: DirMeta): Uint8Array {
  return tarHeader({ path, kind: 'folder', mode, uid, gid, size: 0, xattrs });
}

function whiteout(path: string): Uint8Array {
  return tarHeader({ path, kind: 'file', mode: 0o644, uid: 0, gid: 0, size: 0 });
}

async function* fileEntry(path: string, node: FileNode): AsyncGenerator<Uint8Array> {
  const { mode, uid, gid, xattrs, symlinkTarget: target } = node.header;
  const common = { path, mode, uid, gid, xattrs };
  if (node.type === 'symlink') {
    yield tarHeader({ ...common, kind: 'symlink', size: 0, target });
    return;
  }
  if ((mode & S_IFMT) !== S_IFREG) {
    throw new OstreeError('unsupported', `/${path}: is a device, socket or pipe`, {
      hint: 'OSTree stores folders, files and symlinks. Make it at boot (tmpfiles.d, udev).',
    });
  }
  yield tarHeader({ ...common, kind: 'file', size: node.size });
  let left = node.size;
  for await (const chunk of (await node.content()) as AsyncIterable<Buffer>) {
    left -= chunk.length;
    if (left < 0) break;
    yield chunk;
  }
  if (left !== 0) throw new OstreeError('changed', `/${path}: is not ${node.size} bytes long any more`);
  yield tarPadding(node.size);
}

/**
 * Puts an overlay onto a tree: what exportOverlay wrote, or a layer of a container image. Whiteouts remove what `base`
 * has (one for a path that it lacks is passed over), then the rest is laid over it as by compose.
 *
 * @param source a stream, or the path of a file; plain or compressed, as for writeTar
 * @throws OstreeError as writeTar and compose do
 */
export async function applyOverlay(
  tx: Transaction,
  base: Tree,
  source: Readable | string,
  options: WriteTarOptions = {},
): Promise<Tree> {
  const gone: string[] = [];
  const opaque: string[] = [];
  const filter: WriteTarOptions['filter'] = (path, entry) => {
    const [parents, name] = split(path);
    if (name === OPAQUE) opaque.push(`/${parents.join('/')}`);
    else if (name.startsWith(WHITEOUT)) gone.push(`/${[...parents, name.slice(WHITEOUT.length)].join('/')}`);
    else return options.filter?.(path, entry) ?? true;
    return false;
  };
  const over = await writeTar(tx, source, { ...options, filter });
  const reader = treeReader(tx);
  const removals = new Set(gone);
  for (const path of opaque) {
    const found = lookUp(reader, base, path);
    if (found?.kind !== 'dir') continue;
    const { files, dirs } = reader.dirTree(found.tree.contents);
    for (const name of [...files.keys(), ...dirs.keys()]) removals.add(`${path === '/' ? '' : path}/${name}`);
  }
  const layers: Layer[] = [...removals]
    .filter((path) => !ancestors(path).some((folder) => removals.has(folder)) && lookUp(reader, base, path))
    .map((remove) => ({ remove }));
  return compose(tx, [{ tree: base }, ...layers, { tree: over }]);
}

/** The folders above a path, without the root. */
function ancestors(path: string): string[] {
  const [parents] = split(path);
  return parents.map((_, index) => `/${parents.slice(0, index + 1).join('/')}`);
}

/** The folders that lead to a path, and its name. */
function split(path: string): [string[], string] {
  const parts = path.split('/').filter((part) => part !== '');
  return [parts.slice(0, -1), parts.at(-1) ?? ''];
}
