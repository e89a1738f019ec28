import { writeFileSync } from 'node:fs';
import type { DirTree } from '../formats/dirtree.ts';
import { type Checksum, loosePath, type Tree } from '../formats/object-name.ts';
import { hasObject, MAX_METADATA_BYTES, readFileObject } from '../repo/objects.ts';
import type { Repo } from '../repo/repo.ts';
import type { Transaction } from '../repo/transaction.ts';
import type { StoredObject } from '../work/store-file.ts';
import { assertBareUserOnlyMode } from './bare-user-only.ts';
import type { HttpSource } from './http.ts';
import { KnownFolders, readDirTreeSync } from './known-trees.ts';
import { type CachedFile, LocalCaches } from './local-caches.ts';
import { missing } from './missing-object.ts';
import type { ProgressMeter } from './progress.ts';
import { receiveFile } from './receive-file.ts';
import { type Place, placeBelow, rootPlace, type Subpaths } from './subpaths.ts';

interface FolderJob {
  type: 'dirtree';
  checksum: Checksum;
  /** Folders at the same path in complete local trees. */
  known: readonly Checksum[];
  place: Place;
}

export interface FetchOptions {
  /** Objects of which a part may be there from before. */
  partials: ReadonlySet<Checksum>;
  /** Only these parts of the trees. */
  subpaths?: Subpaths | undefined;
  /** Refuse regular files with permissions outside of 0775. */
  bareUserOnlyFiles?: boolean | undefined;
  /** Into an archive repository, store small files as they come, unhashed. */
  trusted?: boolean | undefined;
  /** Where objects are looked for before they are fetched. */
  caches?: readonly Repo[] | undefined;
}

type Job = FolderJob | { type: 'dirmeta' | 'file'; checksum: Checksum };

/** Received files go to a worker when there are this many, or this many bytes of them. */
const BATCH_FILES = 64;
const BATCH_BYTES = 512 * 1024;
/** Received and not yet stored: what bounds memory when the network is faster than the disk. */
const MAX_PENDING_BYTES = 12 * 1024 * 1024;
/** With so many files to fetch, no more folders are read meanwhile. */
const MANY_FILES = 20_000;
/** What is staged becomes durable and visible after so much, so that an interruption loses little. */
const FLUSH_BYTES = 256 * 1024 * 1024;
const FLUSH_MS = 30_000;
/** How long local folders are looked through before the network has its turn. */
const SLICE_MS = 5;

/**
 * Fetches what trees need and the repository lacks, several objects at a time. Folders that are there are looked
 * through too (see known-trees.ts). Every object is checked against its name before it is staged.
 */
export class ObjectFetcher {
  metadataFetched = 0;
  contentFetched = 0;
  metadataFromCaches = 0;
  contentFromCaches = 0;
  bytesUnpacked = 0;
  readonly #tx: Transaction;
  readonly #source: HttpSource;
  readonly #meter: ProgressMeter;
  readonly #options: FetchOptions;
  readonly #caches: LocalCaches;
  readonly #folders: Job[] = [];
  readonly #files: Job[] = [];
  readonly #seen = new Set<string>();
  #requests = 0;
  #batch: { checksum: Checksum; data: Buffer }[] = [];
  #batchBytes = 0;
  #cached: CachedFile[] = [];
  #cachedBytes = 0;
  /** Not as good in the caches as they looked. */
  readonly #notCached = new Set<Checksum>();
  #storing = 0;
  #pendingBytes = 0;
  #unflushed = 0;
  #flushedAt = Date.now();
  /** Closed around a flush: staging must be at rest then. */
  #gate: PromiseWithResolvers<void> | undefined;
  #flushing = false;
  #yielding = false;
  #failure: { error: unknown } | undefined;
  #settle: (() => void) | undefined;

  constructor(tx: Transaction, source: HttpSource, meter: ProgressMeter, options: FetchOptions) {
    this.#tx = tx;
    this.#source = source;
    this.#meter = meter;
    this.#options = options;
    this.#caches = new LocalCaches(tx, options.caches ?? []);
  }

  /** @param known root dirtrees of complete local commits */
  add(tree: Tree, known: readonly Checksum[]): void {
    this.#want('dirmeta', tree.meta);
    this.#wantFolder(tree.contents, known, rootPlace(this.#options.subpaths));
  }

  /** A file that no tree is known to need, yet. */
  addFile(checksum: Checksum): void {
    this.#want('file', checksum);
  }

  /** Resolves when all is staged. When it rejects, nothing is under way any more. */
  async run(): Promise<void> {
    await new Promise<void>((resolve) => {
      this.#settle = resolve;
      this.#pump();
    });
    if (this.#failure) throw this.#failure.error;
  }

  #want(type: 'dirmeta' | 'file', checksum: Checksum): void {
    const key = type === 'file' ? checksum : `m${checksum}`;
    if (this.#seen.has(key)) return;
    this.#seen.add(key);
    // What this pull has staged it has seen; only the repository is asked.
    if (hasObject(this.#tx.repo, type, checksum)) return;
    this.#meter.objectsKnown++;
    (type === 'file' ? this.#files : this.#folders).push({ type, checksum });
  }

  #wantFolder(checksum: Checksum, known: readonly Checksum[], place: Place): void {
    // A folder of which only a part is wanted may be wanted as a whole elsewhere.
    const key = place === null ? `t${checksum}` : `t${checksum}${place}`;
    if (this.#seen.has(key) || known.includes(checksum)) return;
    this.#seen.add(key);
    this.#folders.push({ type: 'dirtree', checksum, known, place });
  }

  #expand(tree: DirTree, { known: knownContents, place }: FolderJob): void {
    const known = KnownFolders.read(this.#tx.repo, knownContents);
    const { subpaths } = this.#options;
    for (const [name, checksum] of tree.files) {
      if (known.hasFile(name, checksum) || placeBelow(subpaths, place, name, false) === undefined) continue;
      this.#want('file', checksum);
    }
    for (const [name, { contents, meta }] of tree.dirs) {
      const inner = placeBelow(subpaths, place, name, true);
      if (inner === undefined) continue;
      if (!known.hasMeta(name, meta)) this.#want('dirmeta', meta);
      const below = known.below(name, contents);
      if (below) this.#wantFolder(contents, below, inner);
    }
  }

  #next(): Job | undefined {
    const room = this.#pendingBytes < MAX_PENDING_BYTES;
    if (room && this.#files.length > MANY_FILES) return this.#files.pop();
    return this.#folders.pop() ?? (room ? this.#files.pop() : undefined);
  }

  /** Starts what can be started; called whenever something has ended. */
  #pump(): void {
    const until = Date.now() + SLICE_MS;
    while (!this.#failure && !this.#gate && !this.#yielding && this.#requests < this.#source.maxRequests) {
      const job = this.#next();
      if (!job) break;
      try {
        if ((job.type === 'dirtree' && this.#expandLocal(job)) || this.#takeCached(job)) {
          if (Date.now() > until) this.#yield();
          continue;
        }
      } catch (error) {
        this.#fail(error);
        break;
      }
      this.#requests++;
      const fetching = job.type === 'file' ? this.#fetchFile(job.checksum) : this.#fetchMetadata(job);
      fetching.then(
        () => this.#ended(),
        (error: unknown) => {
          this.#fail(error);
          this.#ended();
        },
      );
    }
    this.#meter.counting = this.#folders.length > 0;
    if (this.#gate || this.#yielding) return;
    if (this.#requests === 0 && !this.#failure) {
      this.#send();
      this.#sendCached();
    }
    const waiting = this.#failure ? 0 : this.#folders.length + this.#files.length;
    if (this.#requests === 0 && this.#storing === 0 && waiting === 0) this.#settle?.();
  }

  #yield(): void {
    this.#yielding = true;
    setImmediate(() => {
      this.#yielding = false;
      this.#pump();
    });
  }

  #expandLocal(job: FolderJob): boolean {
    const path = this.#tx.locate('dirtree', job.checksum);
    const tree = path && readDirTreeSync(path, job.checksum);
    if (!tree) {
      this.#meter.objectsKnown++;
      return false;
    }
    this.#expand(tree, job);
    return true;
  }

  /** Takes an object from the caches, if they have it. */
  #takeCached(job: Job): boolean {
    if (this.#caches.none) return false;
    if (job.type === 'file') {
      const file = this.#notCached.has(job.checksum) ? null : this.#caches.findFile(job.checksum);
      if (!file) return false;
      this.#cached.push(file);
      this.#cachedBytes += file.size;
      this.#pendingBytes += file.size;
      if (this.#cached.length >= BATCH_FILES || this.#cachedBytes >= BATCH_BYTES) this.#sendCached();
      return true;
    }
    const value = this.#caches.takeMetadata(job.type, job.checksum);
    if (!value) return false;
    this.metadataFromCaches++;
    this.#tick();
    if (job.type === 'dirtree') this.#expand(value as DirTree, job);
    return true;
  }

  #sendCached(): void {
    const batch = this.#cached;
    const bytes = this.#cachedBytes;
    if (batch.length === 0 || this.#gate) return;
    this.#cached = [];
    this.#cachedBytes = 0;
    this.#storeLater(bytes, async () => {
      const { bareUserOnlyFiles } = this.#options;
      if (bareUserOnlyFiles) {
        for (const { cache, checksum } of batch) {
          assertBareUserOnlyMode((await readFileObject(cache, checksum)).header, checksum);
        }
      }
      const { unpacked, refused } = await this.#caches.takeFiles(batch);
      this.bytesUnpacked += unpacked;
      this.contentFromCaches += batch.length - refused.length;
      for (let index = refused.length; index < batch.length; index++) this.#tick();
      for (const checksum of refused) {
        this.#notCached.add(checksum);
        this.#files.push({ type: 'file', checksum });
      }
    });
  }

  async #fetchMetadata(job: Job): Promise<void> {
    const { checksum } = job;
    const type = job.type === 'dirtree' ? 'dirtree' : 'dirmeta';
    const path = `objects/${loosePath(checksum, type)}`;
    const data = await this.#source.bytes(path, MAX_METADATA_BYTES);
    if (!data) throw missing(this.#source, checksum, type);
    const value = this.#tx.importMetadata(type, checksum, data);
    this.metadataFetched++;
    this.#received(data.length);
    this.#unflushed += data.length;
    this.#tick();
    if (job.type === 'dirtree') this.#expand(value as DirTree, job);
  }

  async #fetchFile(checksum: Checksum): Promise<void> {
    const received = await receiveFile(this.#tx, this.#source, checksum, {
      resume: this.#options.partials.has(checksum),
      count: (bytes) => this.#received(bytes),
      store: (work) => this.#store(0, work),
      ...(this.#options.bareUserOnlyFiles ? { accept: (header) => assertBareUserOnlyMode(header, checksum) } : {}),
    });
    if (!received) throw missing(this.#source, checksum, 'filez');
    if ('stored' in received) {
      this.contentFetched++;
      this.bytesUnpacked += received.stored.size;
      this.#unflushed += received.stored.written;
      this.#tick();
      return;
    }
    const { data } = received;
    this.#batch.push({ checksum, data });
    this.#batchBytes += data.length;
    this.#pendingBytes += data.length;
    if (this.#batch.length >= BATCH_FILES || this.#batchBytes >= BATCH_BYTES) this.#send();
  }

  /** Hands the batch to a worker. */
  #send(): void {
    const batch = this.#batch;
    const bytes = this.#batchBytes;
    if (batch.length === 0 || this.#gate) return;
    this.#batch = [];
    this.#batchBytes = 0;
    this.#storeLater(bytes, async () => {
      const stored = this.#options.trusted ? await this.#storeTrusted(batch) : await this.#import(batch, bytes);
      for (const { size } of stored) this.bytesUnpacked += size;
      this.contentFetched += batch.length;
      for (let index = 0; index < batch.length; index++) this.#tick();
    });
  }

  /** Each object is a view of what a connection received; all of them move into one piece that a worker can have. */
  #import(batch: readonly { checksum: Checksum; data: Buffer }[], bytes: number): Promise<StoredObject[]> {
    const memory = new ArrayBuffer(bytes);
    let at = 0;
    const objects = batch.map(({ checksum, data }) => {
      const view = new Uint8Array(memory, at, data.length);
      view.set(data);
      at += data.length;
      return { checksum, data: view };
    });
    return this.#tx.importFilez(objects, memory);
  }

  #storeTrusted(batch: { checksum: Checksum; data: Buffer }[]): Promise<StoredObject[]> {
    const objects = batch.map(({ checksum, data }) => {
      const path = this.#tx.temporaryPath();
      writeFileSync(path, data, { mode: 0o644 });
      return { type: 'file' as const, checksum, path };
    });
    const { mode, ignoreXattrs } = this.#tx.repo;
    return this.#tx.copyObjects(objects, { from: { mode, ignoreXattrs }, link: true, verify: false });
  }

  #storeLater(bytes: number, work: () => Promise<void>): void {
    this.#store(bytes, work).then(
      () => this.#pump(),
      (error: unknown) => {
        this.#fail(error);
        this.#pump();
      },
    );
  }

  async #store<T>(bytes: number, work: () => Promise<T>): Promise<T> {
    while (this.#gate) await this.#gate.promise;
    this.#storing++;
    try {
      const result = await work();
      this.#unflushed += bytes;
      return result;
    } finally {
      this.#storing--;
      this.#pendingBytes -= bytes;
      this.#flushIfDue();
    }
  }

  #received(bytes: number): void {
    this.#meter.bytes += bytes;
    this.#meter.tell();
  }

  #tick(): void {
    this.#meter.objects++;
    this.#meter.tell();
  }

  #ended(): void {
    this.#requests--;
    this.#flushIfDue();
    this.#pump();
  }

  /** Nothing may be written into staging during a flush: workers finish first, and nothing new is begun. */
  #flushIfDue(): void {
    const due = this.#unflushed >= FLUSH_BYTES || (this.#unflushed > 0 && Date.now() - this.#flushedAt >= FLUSH_MS);
    if (!due || this.#flushing || this.#failure) return;
    this.#gate ??= Promise.withResolvers();
    if (this.#storing > 0) return;
    this.#flushing = true;
    this.#tx.flush({ settle: false }).then(
      () => this.#flushed(),
      (error: unknown) => {
        this.#fail(error);
        this.#flushed();
      },
    );
  }

  #flushed(): void {
    this.#flushing = false;
    this.#unflushed = 0;
    this.#flushedAt = Date.now();
    this.#openGate();
    this.#pump();
  }

  #openGate(): void {
    this.#gate?.resolve();
    this.#gate = undefined;
  }

  #fail(error: unknown): void {
    if (this.#failure) return;
    this.#failure = { error };
    this.#source.close(error);
    if (!this.#flushing) this.#openGate();
  }
}
