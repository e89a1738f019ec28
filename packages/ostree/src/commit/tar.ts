import { createReadStream } from 'node:fs';
import { pipeline, Readable } from 'node:stream';
import { createGunzip, createZstdDecompress } from 'node:zlib';
import { OstreeError } from '../errors.ts';
import { badName } from '../formats/dirtree.ts';
import type { FileHeader } from '../formats/file.ts';
import { S_IFDIR, S_IFLNK, S_IFREG } from '../formats/mode.ts';
import type { Checksum, Tree } from '../formats/object-name.ts';
import type { Xattr } from '../fs/syscalls.ts';
import type { Transaction } from '../repo/transaction.ts';
import { pool } from '../work/pool.ts';
import { WHOLE_FILE_BYTES } from '../work/store-file.ts';
import { type TarEntry, TarReader } from './tar-entries.ts';

export interface WriteTarOptions {
  /** Owner of everything, instead of the archive's own. */
  owner?: { uid: number; gid: number };
  /** Owner 0:0, permissions `mode & 0755`, no setuid bits. Always so in a bare-user-only repository. */
  canonicalPermissions?: boolean;
  /** Store extended attributes. Default true, except in a bare-user-only repository. */
  xattrs?: boolean;
  /** Return false to leave an entry (path with a leading slash) out. Leaving a folder out leaves out all below it. */
  filter?: (path: string, entry: TarEntry) => boolean;
  /** Pass over devices and pipes instead of refusing them. */
  skipDevices?: boolean;
  /** Make folders that the archive does not mention, as root:root 0755. Default true. */
  createParents?: boolean;
  /** Take an archive without entries for an empty folder instead of refusing it. Default false. */
  allowEmpty?: boolean;
  onProgress?: (progress: { files: number; bytes: number }) => void;
}

/** PATH_MAX of Linux; it bounds how deep folders can nest, too. */
const MAX_PATH_BYTES = 4096;
const BATCH_FILES = 128;
const BATCH_BYTES = 4 * 1024 * 1024;

/**
 * Stores a tar archive: plain, gzip or zstd, told by its first bytes. Owners, modes with setuid bits, symlinks, hard
 * links (as files of the same content) and extended attributes are kept. A later entry replaces an earlier one of
 * the same path, and a hard link may come before its target. The stream is read to its end.
 *
 * @param source a stream, or the path of a file
 * @throws OstreeError `invalid` for what is no tar archive (with its offset), has no entries or leaves the tree (`..`),
 *   and for hard links to nothing; `unsupported` for devices, sparse files, xz and bzip2
 */
export async function writeTar(
  tx: Transaction,
  source: Readable | string,
  options: WriteTarOptions = {},
): Promise<Tree> {
  const stream = typeof source === 'string' ? createReadStream(source, { highWaterMark: 256 * 1024 }) : source;
  try {
    const reader = new TarReader(await decompressed(stream));
    const tree = new TreeFromTar(tx, options);
    let entry = await reader.next();
    // An export that failed leaves one behind; as a commit it would delete everything.
    if (!entry && !options.allowEmpty)
      throw new OstreeError('invalid', 'tar: an empty archive: there is no entry in it', { offset: 0 });
    for (; entry; entry = await reader.next()) {
      await tree.add(entry, reader);
      tx.signal?.throwIfAborted();
    }
    return await tree.finish();
  } catch (error) {
    throw error instanceof OstreeError || tx.signal?.aborted ? error : unreadable(error);
  } finally {
    stream.destroy();
  }
}

function unreadable(cause: unknown): OstreeError {
  return new OstreeError('invalid', `tar: cannot be read: ${cause instanceof Error ? cause.message : String(cause)}`, {
    cause,
  });
}

/** Puts a decompressor before an archive if its first bytes ask for one. */
async function decompressed(stream: Readable): Promise<AsyncIterable<Uint8Array>> {
  const chunks = stream[Symbol.asyncIterator]() as AsyncIterator<Uint8Array>;
  let start = Buffer.alloc(0);
  while (start.length < 6) {
    const { done, value } = await chunks.next();
    if (done) break;
    start = Buffer.concat([start, value]);
  }
  const whole = Readable.from(
    (async function* () {
      yield start;
      for (;;) {
        const { done, value } = await chunks.next();
        if (done) return;
        yield value;
      }
    })(),
    { objectMode: false, highWaterMark: 256 * 1024 },
  );
  const magic = start.subarray(0, 6).toString('latin1');
  const unpack = magic.startsWith('\x1f\x8b')
    ? createGunzip({ chunkSize: 256 * 1024 })
    : magic.startsWith('\x28\xb5\x2f\xfd')
      ? createZstdDecompress({ chunkSize: 256 * 1024 })
      : null;
  if (unpack) return pipeline(whole, unpack, () => {}); // errors come out at the reading end
  const program = magic === '\xfd7zXZ\0' ? 'xz' : magic.startsWith('BZh') ? 'bzip2' : null;
  if (!program) return whole;
  throw new OstreeError('unsupported', `tar: is compressed with ${program}`, {
    hint: `Unpack it on the way in: ${program} -dc FILE | … --tree=tar=-`,
  });
}

interface FileNode {
  kind: 'file';
  /** Empty until its batch is stored, or for a hard link, until its target is known. */
  checksum: Checksum;
}

interface FolderNode {
  kind: 'folder';
  meta: Checksum;
  entries: Map<string, FileNode | FolderNode>;
}

/** A hard link that came before its target. */
interface EarlyLink {
  path: string;
  entry: TarEntry;
  target: readonly string[];
}

class TreeFromTar {
  readonly #tx: Transaction;
  readonly #options: WriteTarOptions;
  readonly #canonical: boolean;
  readonly #xattrs: boolean;
  readonly #root: FolderNode;
  #batch: { header: FileHeader; content: Uint8Array; node: FileNode }[] = [];
  #batchBytes = 0;
  readonly #running = new Set<Promise<void>>();
  #failure: { error: unknown } | undefined;
  #files = 0;
  #bytes = 0;
  readonly #earlyLinks = new Map<FileNode, EarlyLink>();
  readonly #leftOut = new Set<string>();

  constructor(tx: Transaction, options: WriteTarOptions) {
    this.#tx = tx;
    this.#options = options;
    const plain = tx.repo.mode === 'bare-user-only';
    this.#canonical = options.canonicalPermissions === true || plain;
    this.#xattrs = options.xattrs ?? !plain;
    this.#root = this.#newFolder(this.#meta(0, 0, 0o755, []));
  }

  async add(entry: TarEntry, reader: TarReader): Promise<void> {
    const parts = partsOf(entry.path, entry);
    const path = `/${parts.join('/')}`;
    if (this.#isLeftOut(parts, path, entry)) return;
    if (entry.kind === 'device') {
      if (this.#options.skipDevices) return;
      throw new OstreeError('unsupported', `tar: ${path} is a device or pipe`, {
        offset: entry.offset,
        hint: 'OSTree stores folders, files and symlinks. Skip devices, or make them at boot (tmpfiles.d, udev).',
      });
    }
    if (entry.kind === 'folder') {
      const meta = this.#meta(entry.uid, entry.gid, entry.mode, entry.xattrs);
      const name = parts.pop();
      const parent = this.#parent(parts, entry);
      const present = name === undefined ? this.#root : parent.entries.get(name);
      if (present?.kind === 'folder') present.meta = meta;
      else parent.entries.set(name!, this.#newFolder(meta));
      return;
    }
    const name = parts.pop();
    if (name === undefined)
      throw new OstreeError('invalid', `tar: the root is a ${entry.kind}`, { offset: entry.offset });
    const parent = this.#parent(parts, entry);
    parent.entries.set(name, entry.kind === 'link' ? this.#linked(entry, path) : await this.#stored(entry, reader));
  }

  #isLeftOut(parts: readonly string[], path: string, entry: TarEntry): boolean {
    const { filter } = this.#options;
    if (!filter || parts.length === 0) return false;
    for (let depth = 1; depth < parts.length; depth++) {
      if (this.#leftOut.has(`/${parts.slice(0, depth).join('/')}`)) return true;
    }
    if (filter(path, entry)) return false;
    this.#leftOut.add(path);
    return true;
  }

  /** The folder at a path; missing ones are made. */
  #parent(parts: readonly string[], entry: TarEntry): FolderNode {
    let folder = this.#root;
    for (const part of parts) {
      let next = folder.entries.get(part);
      if (!next) {
        if (this.#options.createParents === false) {
          throw new OstreeError('invalid', `tar: ${entry.path} lies in a folder that the archive does not have`, {
            offset: entry.offset,
          });
        }
        next = this.#newFolder(this.#meta(0, 0, 0o755, []));
        folder.entries.set(part, next);
      }
      if (next.kind !== 'folder') {
        throw new OstreeError('invalid', `tar: ${entry.path} lies below ${part}, which is not a folder`, {
          offset: entry.offset,
        });
      }
      folder = next;
    }
    return folder;
  }

  #linked(entry: TarEntry, path: string): FileNode {
    const target = partsOf(entry.target, entry);
    const present = this.#find(target);
    if (present?.kind === 'file') return present;
    const node: FileNode = { kind: 'file', checksum: '' };
    this.#earlyLinks.set(node, { path, entry, target });
    return node;
  }

  #find(parts: readonly string[]): FileNode | FolderNode | undefined {
    let node: FileNode | FolderNode | undefined = this.#root;
    for (const part of parts) node = node?.kind === 'folder' ? node.entries.get(part) : undefined;
    return node;
  }

  /** Follows links that came before their targets, now that everything is there. */
  #checksumOf(file: FileNode): Checksum {
    const passed = new Set<FileNode>();
    let node = file;
    for (let link = this.#earlyLinks.get(node); link; link = this.#earlyLinks.get(node)) {
      passed.add(node);
      const { path, entry, target } = link;
      const next = this.#find(target);
      const wrong =
        next?.kind !== 'file'
          ? `, which is ${next ? 'a folder' : 'not in the archive, or left out of it'}`
          : passed.has(next)
            ? ': these links lead to each other, and to no file'
            : null;
      if (wrong !== null) {
        const message = `tar: ${path} is a hard link to ${entry.target}${wrong}`;
        throw new OstreeError('invalid', message, { offset: entry.offset });
      }
      node = next as FileNode;
    }
    for (const one of passed) {
      one.checksum = node.checksum;
      this.#earlyLinks.delete(one);
    }
    return node.checksum;
  }

  async #stored(entry: TarEntry, reader: TarReader): Promise<FileNode> {
    const node: FileNode = { kind: 'file', checksum: '' };
    const isLink = entry.kind === 'symlink';
    if (isLink && entry.target === '') {
      throw new OstreeError('invalid', `tar: ${entry.path} is a symlink without a target`, { offset: entry.offset });
    }
    const { uid, gid, mode, xattrs } = this.#attributes(entry.uid, entry.gid, entry.mode, entry.xattrs);
    const header: FileHeader = {
      uid,
      gid,
      mode: isLink ? S_IFLNK | 0o777 : S_IFREG | mode,
      symlinkTarget: isLink ? entry.target : '',
      xattrs,
    };
    this.#files++;
    this.#bytes += entry.size;
    if (entry.size > WHOLE_FILE_BYTES) {
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
    return this.#write(this.#root);
  }

  #write(folder: FolderNode): Tree {
    const files = new Map<string, Checksum>();
    const dirs = new Map<string, Tree>();
    for (const [name, node] of folder.entries) {
      if (node.kind === 'file') files.set(name, this.#checksumOf(node));
      else dirs.set(name, this.#write(node));
    }
    return { contents: this.#tx.writeDirTree({ files, dirs }), meta: folder.meta };
  }

  #newFolder(meta: Checksum): FolderNode {
    return { kind: 'folder', meta, entries: new Map() };
  }

  #meta(uid: number, gid: number, mode: number, xattrs: readonly Xattr[]): Checksum {
    const attributes = this.#attributes(uid, gid, mode, xattrs);
    return this.#tx.writeDirMeta({ ...attributes, mode: S_IFDIR | attributes.mode });
  }

  #attributes(uid: number, gid: number, mode: number, xattrs: readonly Xattr[]) {
    const kept = this.#xattrs ? xattrs : [];
    if (this.#canonical) return { uid: 0, gid: 0, mode: mode & 0o755, xattrs: kept };
    const { owner } = this.#options;
    return { uid: owner?.uid ?? uid, gid: owner?.gid ?? gid, mode, xattrs: kept };
  }
}

/** The names that a path goes through from the root of the tree, wherever the archive's own root was meant to be. */
function partsOf(path: string, { offset }: TarEntry): string[] {
  if (Buffer.byteLength(path) > MAX_PATH_BYTES) {
    throw new OstreeError('unsupported', `tar: a path of more than ${MAX_PATH_BYTES} bytes at byte ${offset}`, {
      offset,
    });
  }
  const parts = path.split('/').filter((part) => part !== '' && part !== '.');
  for (const part of parts) {
    const reason = badName(part);
    if (reason) {
      throw new OstreeError(
        'invalid',
        `tar: the path ${JSON.stringify(path)} at byte ${offset} is refused: ${reason}`,
        {
          offset,
        },
      );
    }
  }
  return parts;
}
