import { hash } from 'node:crypto';
import { createWriteStream, lstatSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { PassThrough, type Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import type { PartToApply } from '../delta/apply-part.ts';
import { type Commit, decodeCommit, encodeCommit, type Metadata } from '../formats/commit.ts';
import { type DirMeta, decodeDirMeta, encodeDirMeta } from '../formats/dirmeta.ts';
import { type DirTree, decodeDirTree, encodeDirTree } from '../formats/dirtree.ts';
import type { FileHeader } from '../formats/file.ts';
import { S_IFDIR, S_IFREG } from '../formats/mode.ts';
import type { Checksum, ObjectType, Tree } from '../formats/object-name.ts';
import { encode } from '../gvariant/encode.ts';
import type { CopyOptions } from '../work/copy-object.ts';
import { pool } from '../work/pool.ts';
import {
  changed,
  type FileStamp,
  type FileToStore,
  fileStamp,
  type ObjectTarget,
  type StoredObject,
  WHOLE_FILE_BYTES,
} from '../work/store-file.ts';
import type { Task, TaskResults } from '../work/task.ts';
import type { ObjectToVerify } from '../work/verify-object.ts';
import { filezParts } from './filez-parts.ts';
import { noSpace, usableBytes } from './free-space.ts';
import { lockRepo } from './lock.ts';
import { assertHash, hasObject, isThere, objectPath } from './objects.ts';
import { withParents } from './parents.ts';
import { refPath, setRef } from './refs.ts';
import { fileExtension, type Repo } from './repo.ts';
import { repoSettings } from './settings.ts';
import { openStaging, type Staging } from './staging.ts';

/** How a transaction is run. */
export interface TransactionOptions {
  signal?: AbortSignal;
  /** Whether a repository that is so configured gets a new summary when refs were set. Default true. */
  autoSummary?: boolean;
}

/** What a transaction has done so far. */
export interface TransactionStats {
  /** Metadata and content objects that the repository had, and those that are new. */
  metadataTotal: number;
  metadataWritten: number;
  contentTotal: number;
  contentWritten: number;
  /** Content objects that the stat cache knew, so that their files were not read. */
  contentKnown: number;
  /** Bytes of new content as stored. */
  contentBytesWritten: number;
}

/**
 * Runs `work` in a transaction. What it writes is staged apart; when it returns, everything is flushed to disk
 * once, moved into place (content before folders before commits, so that whatever is there has its parts), and
 * then the refs are set. When it throws, the repository is as it was.
 */
export async function withTransaction<T>(
  repo: Repo,
  work: (transaction: Transaction) => Promise<T>,
  options: TransactionOptions = {},
): Promise<T> {
  const unlock = await lockRepo(repo, 'shared', options.signal);
  try {
    const transaction = await Transaction.begin(repo, options.signal);
    try {
      const result = await work(transaction);
      await transaction.commit(options.autoSummary);
      return result;
    } finally {
      await transaction.end();
    }
  } finally {
    unlock();
  }
}

/** What writes into a repository, all or nothing. Made by withTransaction. */
export class Transaction {
  readonly repo: Repo;
  readonly signal: AbortSignal | undefined;
  readonly stats: TransactionStats = {
    metadataTotal: 0,
    metadataWritten: 0,
    contentTotal: 0,
    contentWritten: 0,
    contentKnown: 0,
    contentBytesWritten: 0,
  };
  readonly #target: ObjectTarget;
  readonly #staging: Staging;
  readonly #refs = new Map<string, Checksum | null>();
  /** Metadata staged in this transaction. Content is looked up in the staging folder, where workers put it. */
  readonly #staged = new Set<string>();
  readonly #running = new Set<Promise<unknown>>();
  #temporaries = 0;
  /** What may be written before the repository's reserve of free space is touched. */
  #usable: number;

  private constructor(repo: Repo, staging: Staging, signal: AbortSignal | undefined) {
    this.repo = repo;
    this.signal = signal;
    this.#staging = staging;
    this.#usable = usableBytes(repo);
    const level = repoSettings(repo.config).zlibLevel;
    const { mode, ignoreXattrs } = repo;
    this.#target = { mode, ignoreXattrs, objects: join(repo.path, 'objects'), staging: staging.path, level };
  }

  /** @internal Use withTransaction. */
  static async begin(repo: Repo, signal?: AbortSignal): Promise<Transaction> {
    return new Transaction(repo, await openStaging(repo), signal);
  }

  /** The folder in which this transaction may make temporary files; they are gone when it ends. */
  temporaryPath(): string {
    return join(this.#target.staging, `.temporary-${this.#temporaries++}`);
  }

  /** Whether an object is in the repository or staged. */
  has(type: ObjectType, checksum: Checksum): boolean {
    if (this.#staged.has(`${checksum}.${type}`)) return true;
    if (hasObject(this.repo, type, checksum)) return true;
    const { staging, mode } = this.#target;
    return type === 'file' && isThere(join(staging, `${checksum}.${fileExtension(mode)}`), mode);
  }

  /** Path at which a staged or stored object can be read now, or null. */
  locate(type: ObjectType, checksum: Checksum): string | null {
    const name = `${checksum}.${type === 'file' ? fileExtension(this.repo.mode) : type}`;
    const staged = join(this.#target.staging, name);
    if (lstatSync(staged, { throwIfNoEntry: false })) return staged;
    for (const repo of withParents(this.repo)) {
      if (type === 'file' && repo.mode !== this.repo.mode) continue; // in another form
      const stored = objectPath(repo, type, checksum);
      if (lstatSync(stored, { throwIfNoEntry: false })) return stored;
    }
    return null;
  }

  #stageMetadata(type: ObjectType, data: Uint8Array, checksum: Checksum): void {
    this.stats.metadataTotal++;
    if (this.has(type, checksum)) return;
    writeFileSync(join(this.#target.staging, `${checksum}.${type}`), data, { mode: 0o644 });
    this.#staged.add(`${checksum}.${type}`);
    this.stats.metadataWritten++;
  }

  /** Stages a folder and returns its checksum. Throws `invalid` for names that cannot be file names. */
  writeDirTree(tree: DirTree): Checksum {
    const data = encodeDirTree(tree);
    const checksum = hash('sha256', data);
    this.#stageMetadata('dirtree', data, checksum);
    return checksum;
  }

  /** Stages the attributes of a folder and returns their checksum. */
  writeDirMeta(meta: DirMeta): Checksum {
    const data = encodeDirMeta(meta);
    const checksum = hash('sha256', data);
    this.#stageMetadata('dirmeta', data, checksum);
    return checksum;
  }

  /** Writes a commit object. Its tree must be whole; that is not checked here. */
  writeCommitObject(commit: Commit): Checksum {
    const data = encodeCommit(commit);
    const checksum = hash('sha256', data);
    this.#stageMetadata('commit', data, checksum);
    return checksum;
  }

  /** Sets the detached metadata of a commit, replacing what there was. */
  writeDetachedMetadata(commit: Checksum, metadata: Metadata): void {
    const data = encode('a{sv}', metadata);
    writeFileSync(join(this.#target.staging, `${commit}.commitmeta`), data, { mode: 0o644 });
    this.#staged.add(`${commit}.commitmeta`);
  }

  /**
   * Takes in a metadata object from elsewhere after checking bytes and structure.
   *
   * @returns what it says
   * @throws OstreeError `corrupt`
   */
  importMetadata(
    type: 'commit' | 'dirtree' | 'dirmeta',
    checksum: Checksum,
    data: Uint8Array,
  ): Commit | DirTree | DirMeta {
    assertHash(data, checksum, type);
    const object = `${checksum}.${type}`;
    const decoders = { commit: decodeCommit, dirtree: decodeDirTree, dirmeta: decodeDirMeta };
    const value = decoders[type](data, object);
    this.#stageMetadata(type, data, checksum);
    return value;
  }

  /**
   * @internal Takes in content objects that were received as filez, checked by a worker. Throws `corrupt`.
   *
   * @param memory what all of them lie in: it goes over to the worker, and is of no use here afterwards
   */
  async importFilez(
    objects: { checksum: Checksum; data: Uint8Array }[],
    memory?: ArrayBuffer,
  ): Promise<StoredObject[]> {
    const cost = objects.reduce((sum, { data }) => sum + data.length, 0) + objects.length * FILE_COST;
    const task = { kind: 'import-filez' as const, target: this.#target, objects };
    return this.#count(await this.#run(task, cost, memory ? [memory] : []));
  }

  /** @internal Takes in one content object of any size that was received into a file. The file is gone afterwards. */
  async importFilezFile(checksum: Checksum, path: string): Promise<StoredObject> {
    const cost = statSync(path).size;
    const stored = await this.#run({ kind: 'import-filez-file', target: this.#target, checksum, path }, cost);
    return this.#count([stored])[0]!;
  }

  /** @internal Takes over objects of another repository on this machine. See CopyOptions for what is checked. */
  async copyObjects(objects: ObjectToVerify[], options: CopyOptions): Promise<StoredObject[]> {
    const task = { kind: 'copy-objects' as const, target: this.#target, options, objects };
    const cost = objects.length * FILE_COST * (options.verify ? 8 : 1);
    const stored = await this.#run(task, cost);
    for (const [index, { written }] of stored.entries()) {
      const { type, checksum } = objects[index]!;
      if (type === 'file') this.#count([stored[index]!]);
      else {
        this.stats.metadataTotal++;
        if (written > 0) this.stats.metadataWritten++;
        this.#staged.add(`${checksum}.${type}`);
      }
    }
    return stored;
  }

  /** @internal Makes the objects of one part of a static delta: see applyDelta. */
  async applyDeltaPart(part: PartToApply): Promise<void> {
    const { unpackedSize, objects } = part.header;
    const task = { kind: 'apply-delta-part' as const, target: this.#target, part };
    const { stored, metadata, large } = await this.#run(task, unpackedSize + objects.length * FILE_COST);
    this.#count(stored);
    for (const { type, checksum, data } of metadata) this.importMetadata(type, checksum, data);
    for (const { checksum, path, size, header } of large) {
      const [file] = await this.storeFiles([{ ...header, path, size }]);
      rmSync(path, { force: true });
      if (file?.checksum !== checksum) throw changed(path);
    }
  }

  /** @internal Stores files of a folder, hashed and compressed by workers; a few at a time, please. */
  async storeFiles(files: FileToStore[]): Promise<(StoredObject & { header: FileHeader })[]> {
    const cost = files.reduce((sum, file) => sum + file.size, 0) + files.length * FILE_COST;
    const stored = await this.#run({ kind: 'store-files', target: this.#target, files }, cost);
    for (const [index, object] of stored.entries()) {
      if (object.deferred) object.written = await this.#storeLarge(files[index]!, object, object.deferred);
    }
    return this.#count(stored);
  }

  /** @internal Stores files whose content is in memory; views of one buffer, please, since that is copied to the worker whole. */
  async storeBuffers(buffers: { header: FileHeader; content: Uint8Array }[]): Promise<StoredObject[]> {
    const cost = buffers.reduce((sum, { content }) => sum + content.length, 0) + buffers.length * FILE_COST;
    return this.#count(await this.#run({ kind: 'store-buffers', target: this.#target, buffers }, cost));
  }

  /** Gives a task to the workers and remembers that it is under way: staging must outlive it. */
  #run<K extends Task['kind']>(
    task: Extract<Task, { kind: K }>,
    cost: number,
    transfer: readonly ArrayBuffer[] = [],
  ): Promise<TaskResults[K]> {
    const promise = pool.run(task, cost, transfer);
    this.#running.add(promise);
    const done = () => void this.#running.delete(promise);
    promise.then(done, done);
    return promise;
  }

  /** Counts a content object that was found in the repository without reading the file again. */
  countKnown(): void {
    this.stats.contentTotal++;
    this.stats.contentKnown++;
  }

  #count<T extends StoredObject>(stored: T[]): T[] {
    for (const { written } of stored) {
      this.stats.contentTotal++;
      if (written > 0) this.stats.contentWritten++;
      this.stats.contentBytesWritten += written;
      this.#usable -= written;
      // Like libostree's, the check is for content: metadata is small, and deleting needs some.
      if (written > 0 && this.#usable < 0) throw noSpace(this.repo, written, this.#usable + written);
    }
    return stored;
  }

  /** Compresses a large file with several cores and stages it. Returns the bytes written. */
  async #storeLarge(
    file: FileToStore,
    { checksum, size, header }: StoredObject & { header: FileHeader },
    hashed: FileStamp,
  ): Promise<number> {
    const { path } = file;
    let written = size;
    if (this.repo.mode === 'archive') {
      const staged = join(this.#target.staging, `${checksum}.filez`);
      const { level } = this.#target;
      const out = createWriteStream(staged, { flags: 'w', mode: 0o644 });
      const parts = filezParts({ path, header, size }, { level, signal: this.signal, run: (t, c) => this.#run(t, c) });
      await pipeline(parts, out);
      written = out.bytesWritten;
    } else {
      await this.#run({ kind: 'stage-copy', target: this.#target, checksum, path, header }, size);
    }
    await this.#assertUnchanged(file, hashed, checksum);
    return written;
  }

  /** A large file is read twice: what was stored must be what was hashed. */
  async #assertUnchanged(file: FileToStore, hashed: FileStamp, checksum: Checksum): Promise<void> {
    const now = fileStamp(statSync(file.path));
    const same = (['ino', 'size', 'mtimeMs', 'ctimeMs'] as const).every((key) => now[key] === hashed[key]);
    if (!same) throw changed(file.path);
    if (!hashed.fresh) return;
    const [again] = await this.#run({ kind: 'store-files', target: this.#target, files: [file] }, file.size);
    if (again!.checksum !== checksum) throw changed(file.path);
  }

  /**
   * Stores content from memory or a stream. A stream is spooled to a temporary file, so that it can be hashed
   * before it is compressed.
   */
  async writeFile(header: FileHeader, content: Uint8Array | Readable): Promise<StoredObject> {
    if (content instanceof Uint8Array && content.length <= WHOLE_FILE_BYTES) {
      return (await this.storeBuffers([{ header, content }]))[0]!;
    }
    const path = this.temporaryPath();
    const source = content instanceof Uint8Array ? new PassThrough().end(content) : content;
    await pipeline(source, createWriteStream(path, { flags: 'wx', mode: 0o600 }), { signal: this.signal });
    try {
      const { size } = statSync(path);
      const file = { path, uid: header.uid, gid: header.gid, mode: header.mode, size, xattrs: header.xattrs };
      return (await this.storeFiles([file]))[0]!;
    } finally {
      rmSync(path, { force: true });
    }
  }

  /** The tree of a folder without entries, owned by root and 0755: where a composition starts. */
  emptyTree(): Tree {
    return {
      contents: this.writeDirTree({ files: new Map(), dirs: new Map() }),
      meta: this.writeDirMeta({ uid: 0, gid: 0, mode: S_IFDIR | 0o755, xattrs: [] }),
    };
  }

  /** Sets or deletes a ref when the transaction commits. Throws `invalid` for a bad name at once. */
  setRef(name: string, commit: Checksum | null): void {
    refPath(this.repo, name);
    this.#refs.set(name, commit);
  }

  /**
   * Makes what is staged durable and visible now, without its refs. A long pull calls this now and then, so that
   * an interruption loses little. Nothing may be being written meanwhile.
   *
   * @param options `settle: false` leaves it to a later flush to wait until the disk knows that objects are visible
   */
  async flush(options: { settle?: boolean } = {}): Promise<void> {
    await this.#staging.release(options);
    this.#staged.clear();
  }

  /** @internal Use withTransaction. */
  async commit(autoSummary = true): Promise<void> {
    this.signal?.throwIfAborted();
    await this.flush();
    for (const [name, commit] of this.#refs) await setRef(this.repo, name, commit);
    if (autoSummary && this.#refs.size > 0 && repoSettings(this.repo.config).autoUpdateSummary) {
      // Loaded only here: hardly any repository wants it, and it needs much.
      const { autoUpdateSummary } = await import('../summary/update.ts');
      await autoUpdateSummary(this.repo);
    }
  }

  /** @internal Use withTransaction. */
  async end(): Promise<void> {
    await Promise.allSettled(this.#running);
    await this.#staging.close();
  }
}

/** A small file costs about as much as this many bytes of a large one: opening, looking up, creating. */
export const FILE_COST = 4096;

/** Regular file, root:root, 0644: for content that has no file to take attributes from. */
export function plainFileHeader(permissions = 0o644): FileHeader {
  return { uid: 0, gid: 0, mode: S_IFREG | permissions, symlinkTarget: '', xattrs: [] };
}
