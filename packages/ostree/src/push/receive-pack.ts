import { assertFreeSpace } from '../repo/free-space.ts';
import type { Repo } from '../repo/repo.ts';
import { keepMemory, ObjectBatch } from '../work/object-batch.ts';
import { pool } from '../work/pool.ts';
import { receivedName } from '../work/receive-object.ts';
import { PackDecoder, type PackRecord, SMALL_BYTES } from './pack.ts';
import { PartFile } from './part-file.ts';
import { newBatchName, type PushSession } from './session.ts';

/** What a pack has brought. */
export interface PackReceipt {
  /** Objects that were new. */
  objects: number;
  /** Bytes of them as stored. */
  bytes: number;
}

export interface ReceivePackOptions {
  repo: Repo;
  signal: AbortSignal | undefined;
  /** Throws when so much more may not be staged. */
  assertRoom(bytes: number): void;
}

/** What a worker gets at a time, at most. */
const BATCH_OBJECTS = 256;
/** Received and not yet stored, for all packs together: what bounds memory when the network is faster than the disk. */
const MAX_PENDING_BYTES = 24 * 1024 * 1024;
const WRITE_BYTES = 1024 * 1024;
const SPACE_EVERY_BYTES = 64 * 1024 * 1024;
/** A small file costs about as much as this many bytes of a large one. */
const OBJECT_COST = 4096;

let pendingBytes = 0;
const waiting = new Set<() => void>();

/**
 * Takes in a pack: small objects go to workers in batches, large ones into files that are checked when they are whole.
 * Nothing counts as received before it is hashed.
 */
export async function receivePack(
  session: PushSession,
  source: AsyncIterable<Buffer>,
  options: ReceivePackOptions,
): Promise<PackReceipt> {
  const receiving = new PackReceiving(session, options);
  try {
    for await (const chunk of source) {
      options.signal?.throwIfAborted();
      await receiving.push(chunk);
    }
    receiving.finish();
  } finally {
    // What has come whole is kept even if the connection was lost after it.
    await receiving.settle();
  }
  return receiving.result();
}

class PackReceiving {
  readonly #session: PushSession;
  readonly #options: ReceivePackOptions;
  readonly #decoder: PackDecoder;
  readonly #receipt: PackReceipt = { objects: 0, bytes: 0 };
  /** Small objects for a worker, and the names of their files. */
  #batch: ObjectBatch | undefined;
  #names: string[] = [];
  /** The record that is being read: into memory, into a file, or (it is there already) to nowhere. */
  #record: PackRecord | undefined;
  #into: 'memory' | 'file' | 'nowhere' = 'nowhere';
  #part: PartFile | null = null;
  #steps: (() => Promise<void>)[] = [];
  readonly #running = new Set<Promise<void>>();
  #failure: { error: unknown } | undefined;
  #spaceLeft = 0;

  constructor(session: PushSession, options: ReceivePackOptions) {
    this.#session = session;
    this.#options = options;
    this.#decoder = new PackDecoder({
      begin: (record) => this.#begin(record),
      bytes: (piece) => this.#bytes(piece),
      end: () => this.#end(),
    });
  }

  async push(chunk: Buffer): Promise<void> {
    this.#throwFailure();
    this.#decoder.push(chunk);
    // Large objects are written in the order of their bytes, and nothing more is read meanwhile.
    for (const step of this.#steps.splice(0)) await step();
    await this.#part?.flush(WRITE_BYTES);
    while (pendingBytes > MAX_PENDING_BYTES && this.#running.size > 0) {
      await new Promise<void>((resolve) => void waiting.add(resolve));
    }
  }

  finish(): void {
    this.#throwFailure();
    this.#decoder.finish();
  }

  result(): PackReceipt {
    this.#throwFailure();
    return this.#receipt;
  }

  /** Resolves when nothing is under way any more. */
  async settle(): Promise<void> {
    // The object that was just coming has been cut off.
    if (this.#record && this.#into === 'memory') {
      this.#batch?.dropLast();
      this.#names.pop();
    }
    this.#send();
    await Promise.all(this.#running);
    await this.#letGo();
    if (this.#failure) await this.#session.scan();
  }

  #throwFailure(): void {
    if (this.#failure) throw this.#failure.error;
  }

  #begin(record: PackRecord): void {
    const { type, checksum, total, offset, length } = record;
    this.#record = record;
    this.#into = 'nowhere';
    if (type !== 'commitmeta' && this.#session.has(record)) return;
    // The whole of an object: who may not send it is told before its bytes are.
    this.#options.assertRoom(Math.max(length, (total ?? 0) - offset));
    this.#session.bytes += length;
    this.#spaceLeft -= length;
    if (this.#spaceLeft < 0) {
      assertFreeSpace(this.#options.repo, length);
      this.#spaceLeft = SPACE_EVERY_BYTES;
    }
    if (total === length && offset === 0 && length <= SMALL_BYTES) {
      this.#into = 'memory';
      if (this.#batch && (this.#batch.count >= BATCH_OBJECTS || !this.#batch.hasRoom(length))) this.#send();
      this.#batch ??= new ObjectBatch(length);
      this.#batch.begin(type, checksum, length);
      this.#names.push(receivedName(type, checksum));
      return;
    }
    this.#into = 'file';
    this.#steps.push(() => this.#openPart(record));
  }

  #bytes(piece: Buffer): void {
    if (this.#into === 'memory') {
      this.#batch!.add(piece);
    } else if (this.#into === 'file') {
      const copy = Buffer.from(piece);
      this.#steps.push(async () => this.#part?.add(copy));
    }
  }

  #end(): void {
    const record = this.#record!;
    this.#record = undefined;
    if (this.#into === 'file') this.#steps.push(() => this.#endPart(record));
  }

  async #openPart(record: PackRecord): Promise<void> {
    const name = receivedName(record.type, record.checksum);
    if (this.#part?.name !== name) {
      await this.#letGo();
      this.#part = await PartFile.open(this.#session, name);
    }
    await this.#part?.startAt(record.offset);
  }

  async #letGo(): Promise<void> {
    const part = this.#part;
    this.#part = null;
    await part?.close();
    part?.release();
  }

  async #endPart({ type, checksum, total }: PackRecord): Promise<void> {
    const part = this.#part;
    if (!part || total === null || part.size < total) return;
    await part.flush(0);
    this.#part = null;
    await part.close();
    const object = { type, checksum, path: part.path };
    this.#run(async () => {
      try {
        const task = { kind: 'receive-spooled' as const, folder: this.#session.path, object };
        const written = await pool.run(task, part.size);
        this.#session.names.set(part.name, part.name);
        this.#receipt.objects++;
        this.#receipt.bytes += written;
      } finally {
        // Whole, or refused and gone.
        this.#session.parts.delete(part.name);
        part.release();
      }
    });
  }

  /** Hands the batch to a worker. */
  #send(): void {
    const [batch, names] = [this.#batch, this.#names];
    this.#batch = undefined;
    this.#names = [];
    if (!batch) return;
    const { memory } = batch;
    if (batch.count === 0) {
      keepMemory(memory);
      return;
    }
    // What goes over to a worker has no length any more.
    const size = memory.byteLength;
    const cost = batch.bytes + names.length * OBJECT_COST;
    pendingBytes += size;
    this.#run(async () => {
      try {
        const folder = newBatchName();
        const task = { kind: 'receive-objects' as const, folder: this.#session.path, batch: folder, memory };
        keepMemory(await pool.run(task, cost, [memory]));
        for (const name of names) this.#session.names.set(name, names.length === 1 ? name : `${folder}/${name}`);
        this.#receipt.objects += names.length;
        this.#receipt.bytes += batch.bytes;
      } finally {
        pendingBytes -= size;
        for (const wake of waiting) wake();
        waiting.clear();
      }
    });
  }

  #run(work: () => Promise<void>): void {
    const running = work().catch((error: unknown) => {
      this.#failure ??= { error };
    });
    this.#running.add(running);
    void running.then(() => this.#running.delete(running));
  }
}
