import { Readable } from 'node:stream';
import { OPAQUE, WHITEOUT } from '../checkout/whiteouts.ts';
import { type FileNode, MutableFolder } from '../compose/mutable-tree.ts';
import { OstreeError } from '../errors.ts';
import { badName } from '../formats/dirtree.ts';
import type { FileHeader } from '../formats/file.ts';
import { S_IFDIR, S_IFLNK, S_IFREG } from '../formats/mode.ts';
import type { Checksum, Tree } from '../formats/object-name.ts';
import type { Xattr } from '../fs/syscalls.ts';
import { assertFreeSpace } from '../repo/free-space.ts';
import type { Transaction } from '../repo/transaction.ts';
import { treeReader } from '../repo/tree-reader.ts';
import { pool } from '../work/pool.ts';
import { type Attributes, type Modifier, modifierOf } from './modifier.ts';
import type { WriteTarOptions } from './tar.ts';
import type { ArchiveReader, TarEntry } from './tar-entries.ts';

/** PATH_MAX of Linux; it bounds how deep folders can nest, too. */
const MAX_PATH_BYTES = 4096;
/** Up to here content is held in memory; more of it goes through a file. */
const WHOLE_BYTES = 2 * 1024 * 1024;
const BATCH_FILES = 128;
const BATCH_BYTES = 4 * 1024 * 1024;

/** A hard link that came before its target. */
interface EarlyLink {
  path: string;
  entry: TarEntry;
  target: readonly string[];
}

/** A tree that the entries of one archive after the other are put into. */
export class ArchiveTree {
  readonly #tx: Transaction;
  readonly #options: WriteTarOptions;
  readonly #modifier: Modifier;
  readonly #root: MutableFolder;
  #batch: { header: FileHeader; content: Uint8Array; node: FileNode }[] = [];
  #batchBytes = 0;
  readonly #running = new Set<Promise<void>>();
  #failure: { error: unknown } | undefined;
  #files = 0;
  #bytes = 0;
  readonly #earlyLinks = new Map<FileNode, EarlyLink>();
  readonly #leftOut = new Set<string>();
  readonly #layer: boolean;
  /** What the layer itself has, which its whiteouts are not about. */
  readonly #added = new Set<string>();

  /** @param layer whether whiteouts remove what the tree below has */
  constructor(tx: Transaction, options: WriteTarOptions, layer = false) {
    this.#layer = layer;
    this.#tx = tx;
    this.#options = options;
    this.#modifier = modifierOf(options, tx.repo.mode, 'archive');
    this.#root = new MutableFolder(treeReader(tx), options.base ?? null);
    const { createParents = true } = options;
    if (createParents === true) this.#root.meta ??= this.#parentMeta();
  }

  async add(entry: TarEntry, reader: ArchiveReader): Promise<void> {
    const parts = this.#partsOf(entry.path, entry);
    const path = `/${parts.join('/')}`;
    if (this.#isLeftOut(parts, path, entry)) return;
    if (this.#layer) {
      if (this.#applyWhiteout(parts)) return;
      for (let depth = 1; depth <= parts.length; depth++) this.#added.add(`/${parts.slice(0, depth).join('/')}`);
    }
    const type = entry.kind === 'folder' ? S_IFDIR : entry.kind === 'symlink' ? S_IFLNK : S_IFREG;
    const { uid, gid } = entry;
    const mode = entry.kind === 'symlink' ? S_IFLNK | 0o777 : type | entry.mode;
    const attributes = entry.kind === 'device' ? { uid, gid, mode } : this.#modifier.apply(path, { uid, gid, mode });
    if (!attributes) {
      this.#leftOut.add(path);
      return;
    }
    if (entry.kind === 'device') {
      if (this.#options.skipDevices) return;
      throw new OstreeError('unsupported', `tar: ${path} is a device or pipe`, {
        offset: entry.offset,
        hint: 'OSTree stores folders, files and symlinks. Skip devices, or make them at boot (tmpfiles.d, udev).',
      });
    }
    const name = parts.pop();
    const parent = this.#parent(parts, entry);
    if (entry.kind === 'folder') {
      const folder = name === undefined ? this.#root : (parent.folder(name) ?? parent.makeFolder(name));
      folder.meta = this.#meta(attributes, entry.xattrs);
      return;
    }
    if (name === undefined)
      throw new OstreeError('invalid', `tar: the root is a ${entry.kind}`, { offset: entry.offset });
    if (entry.kind === 'link') parent.setFile(name, await this.#linked(entry, path, attributes, reader));
    else parent.setFile(name, await this.#stored({ checksum: '' }, entry, attributes, reader));
  }

  #folder(parts: readonly string[]): MutableFolder | undefined {
    let folder: MutableFolder | undefined = this.#root;
    for (const part of parts) folder = folder?.folder(part);
    return folder;
  }

  /** True for an entry that is no file but says what to remove. */
  #applyWhiteout(parts: readonly string[]): boolean {
    const name = parts.at(-1) ?? '';
    if (!name.startsWith(WHITEOUT)) return false;
    const parents = parts.slice(0, -1);
    const folder = this.#folder(parents);
    const path = parents.length === 0 ? '' : `/${parents.join('/')}`;
    if (name === OPAQUE) for (const inner of folder?.names() ?? []) this.#removeLower(folder!, inner, path);
    // Names that aufs kept for itself mean nothing to anybody else.
    else if (!name.startsWith(`${WHITEOUT}${WHITEOUT}`) && folder) {
      this.#removeLower(folder, name.slice(WHITEOUT.length), path);
    }
    return true;
  }

  /** Removes what the trees below have at a path; what this layer has put there stays, wherever it came in it. */
  #removeLower(folder: MutableFolder, name: string, path: string): void {
    const here = `${path}/${name}`;
    const inner = this.#added.has(here) ? folder.folder(name) : undefined;
    if (!this.#added.has(here)) folder.delete(name);
    else for (const one of inner?.names() ?? []) this.#removeLower(inner!, one, here);
  }

  #isLeftOut(parts: readonly string[], path: string, entry: TarEntry): boolean {
    for (let depth = 1; this.#leftOut.size > 0 && depth < parts.length; depth++) {
      if (this.#leftOut.has(`/${parts.slice(0, depth).join('/')}`)) return true;
    }
    if (parts.length === 0 || !this.#options.filter || this.#options.filter(path, entry)) return false;
    this.#leftOut.add(path);
    return true;
  }

  /** The folder at a path; missing ones are made. */
  #parent(parts: readonly string[], entry: TarEntry): MutableFolder {
    const { createParents = true } = this.#options;
    const missing = this.#isMissing(parts);
    if (missing && createParents === false) {
      throw new OstreeError('invalid', `tar: ${entry.path} lies in a folder that the archive does not have`, {
        offset: entry.offset,
        hint: 'No such file or directory. Have such folders made: --tar-autocreate-parents.',
      });
    }
    // libostree gives the folders that were there the attributes of those that it makes, too.
    const owned = missing && createParents === 'owned' ? this.#parentMeta(entry) : null;
    let folder = this.#root;
    if (owned) folder.meta = owned;
    for (const part of parts) {
      if (folder.file(part) !== undefined) {
        throw new OstreeError('invalid', `tar: ${entry.path} lies below ${part}, which is not a folder`, {
          offset: entry.offset,
        });
      }
      folder = folder.folder(part) ?? folder.makeFolder(part);
      if (owned) folder.meta = owned;
      else if (createParents === true) folder.meta ??= this.#parentMeta();
    }
    return folder;
  }

  #isMissing(parts: readonly string[]): boolean {
    let folder: MutableFolder | undefined = this.#root;
    for (const part of parts) folder = folder?.folder(part);
    return folder === undefined;
  }

  /** root:root, or the owner of what lies in the folder. */
  #parentMeta({ uid, gid } = { uid: 0, gid: 0 }): Checksum {
    return this.#tx.writeDirMeta({ uid, gid, mode: S_IFDIR | 0o755, xattrs: [] });
  }

  async #linked(
    entry: TarEntry,
    path: string,
    attributes: Attributes,
    reader: ArchiveReader,
  ): Promise<FileNode | Checksum> {
    const target = this.#partsOf(entry.target, entry);
    const present = this.#find(target);
    // Its content is that of all names of the file: cpio has it with the last.
    if (entry.size > 0) {
      const node = typeof present === 'object' ? present : { checksum: '' };
      const stored = await this.#stored(node, entry, attributes, reader);
      if (typeof present === 'string') this.#place(target, stored);
      return stored;
    }
    if (present !== undefined && present !== 'folder') return present;
    const node: FileNode = { checksum: '' };
    this.#earlyLinks.set(node, { path, entry, target });
    return node;
  }

  #place(parts: readonly string[], node: FileNode): void {
    this.#folder(parts.slice(0, -1))?.setFile(parts.at(-1)!, node);
  }

  #find(parts: readonly string[]): FileNode | Checksum | 'folder' | undefined {
    let folder: MutableFolder | undefined = this.#root;
    for (const part of parts.slice(0, -1)) folder = folder?.folder(part);
    const name = parts.at(-1);
    if (name === undefined) return 'folder';
    return folder?.file(name) ?? (folder?.hasFolder(name) ? 'folder' : undefined);
  }

  /** Follows links that came before their targets, now that everything is there. */
  #checksumOf(file: FileNode): Checksum {
    const passed = new Set<FileNode>();
    let node = file;
    let checksum: Checksum | null = null;
    for (let link = this.#earlyLinks.get(node); link; link = this.#earlyLinks.get(node)) {
      passed.add(node);
      const { path, entry, target } = link;
      const next = this.#find(target);
      const wrong =
        next === undefined || next === 'folder'
          ? `, which is ${next ? 'a folder' : 'not in the archive, or left out of it'}`
          : typeof next === 'object' && passed.has(next)
            ? ': these links lead to each other, and to no file'
            : null;
      if (wrong !== null) {
        const message = `tar: ${path} is a hard link to ${entry.target}${wrong}`;
        throw new OstreeError('invalid', message, { offset: entry.offset });
      }
      if (typeof next === 'string') {
        checksum = next;
        break;
      }
      node = next as FileNode;
    }
    const found = checksum ?? node.checksum;
    for (const one of passed) {
      one.checksum = found;
      this.#earlyLinks.delete(one);
    }
    return found;
  }

  /** Stores an entry's content; the node has its checksum later. */
  async #stored(node: FileNode, entry: TarEntry, attributes: Attributes, reader: ArchiveReader): Promise<FileNode> {
    if (entry.kind === 'symlink' && entry.target === '') {
      throw new OstreeError('invalid', `tar: ${entry.path} is a symlink without a target`, { offset: entry.offset });
    }
    const { uid, gid, mode } = attributes;
    const symlinkTarget = entry.kind === 'symlink' ? entry.target : '';
    const header: FileHeader = { uid, gid, mode, symlinkTarget, xattrs: this.#modifier.xattrs ? entry.xattrs : [] };
    this.#files++;
    this.#bytes += entry.size;
    if (entry.size > WHOLE_BYTES) {
      // It is unpacked on the way: a few bytes can stand for terabytes.
      assertFreeSpace(this.#tx.repo, entry.size);
      const content = Readable.from(reader.stream(), { objectMode: false });
      node.checksum = (await this.#tx.writeFile(header, content)).checksum;
    } else {
      const content = entry.size > 0 ? await reader.content() : new Uint8Array(0);
      this.#batch.push({ header, content, node });
      this.#batchBytes += content.length;
      if (this.#batch.length >= BATCH_FILES || this.#batchBytes >= BATCH_BYTES) {
        this.#send();
        // A few batches ahead keep the workers busy; more would only take memory.
        while (this.#running.size >= 2 * pool.size + 1) await Promise.race(this.#running);
        if (this.#failure) throw this.#failure.error;
      }
    }
    this.#options.onProgress?.({ files: this.#files, bytes: this.#bytes });
    return node;
  }

  #send(): void {
    const batch = this.#batch;
    this.#batch = [];
    // What goes to a worker is copied with all that it is a view of, so the views are of one fitting piece.
    const memory = Buffer.allocUnsafeSlow(this.#batchBytes);
    this.#batchBytes = 0;
    if (batch.length === 0) return;
    let at = 0;
    const buffers = batch.map(({ header, content }) => {
      const view = memory.subarray(at, at + content.length);
      view.set(content);
      at += content.length;
      return { header, content: view };
    });
    const storing = this.#tx.storeBuffers(buffers).then(
      (stored) => {
        for (const [index, { checksum }] of stored.entries()) batch[index]!.node.checksum = checksum;
      },
      (error: unknown) => {
        this.#failure ??= { error };
      },
    );
    this.#running.add(storing);
    void storing.then(() => this.#running.delete(storing));
  }

  async finish(): Promise<Tree> {
    this.#send();
    await Promise.all(this.#running);
    if (this.#failure) throw this.#failure.error;
    const { createParents = true } = this.#options;
    if (createParents !== false && this.#root.meta === null) {
      const attributes = this.#modifier.apply('/', { uid: 0, gid: 0, mode: S_IFDIR | 0o755 });
      this.#root.meta = attributes && this.#meta(attributes, []);
    }
    return this.#root.write(this.#tx, (node) => this.#checksumOf(node));
  }

  #meta({ uid, gid, mode }: Attributes, xattrs: readonly Xattr[]): Checksum {
    return this.#tx.writeDirMeta({ uid, gid, mode, xattrs: this.#modifier.xattrs ? xattrs : [] });
  }

  /** The names that a path goes through from the root of the tree, wherever the archive's own root was meant to be. */
  #partsOf(path: string, { offset }: TarEntry): string[] {
    const { rename } = this.#options;
    const relative = rename ? rename(path.replace(/^(\.?\/)*/, '').replace(/^\.$/, '')) : path;
    return partsOf(relative, offset);
  }
}

function partsOf(path: string, offset: number): string[] {
  if (Buffer.byteLength(path) > MAX_PATH_BYTES) {
    const message = `tar: a path of more than ${MAX_PATH_BYTES} bytes at byte ${offset}`;
    throw new OstreeError('unsupported', message, { offset });
  }
  const parts = path.split('/').filter((part) => part !== '' && part !== '.');
  for (const part of parts) {
    const reason = badName(part);
    if (reason) {
      const message = `tar: the path ${JSON.stringify(path)} at byte ${offset} is refused: ${reason}`;
      throw new OstreeError('invalid', message, { offset });
    }
  }
  return parts;
}
