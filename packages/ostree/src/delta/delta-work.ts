import { join } from 'node:path';
import type { Checksum } from '../formats/object-name.ts';
import type { Repo } from '../repo/repo.ts';
import { pool } from '../work/pool.ts';
import type { ArrangedPart } from './arrange.ts';
import type { EncodedObject, EncodeOptions, ObjectToEncode } from './encode-object.ts';
import type { GenerateDeltaOptions } from './generate.ts';
import type { Sketch } from './sketch.ts';
import type { ObjectSource } from './source-content.ts';
import type { DeltaPart } from './superblock.ts';

const DEFAULT_MAX_BSDIFF_BYTES = 128_000_000;

/** Content that goes to a worker in one task; enough for it not to wait for the next, little enough to share out. */
const BATCH_BYTES = 4 * 1024 * 1024;
/** A file costs as much as so many bytes more. */
const FILE_COST = 16 * 1024;

/** What compressing takes: liblzma for its dictionary, and payload and result. */
const COMPRESSOR_BYTES = 30 * 1000 * 1000;
const COMPRESS_FACTOR = 2;
/** What comparing takes for each byte of a file, its source included. */
const COMPARE_FACTOR = 8;
/** A part of the default size for each of four cores, or two files of some megabytes with their sources. */
const MEMORY_BYTES_PER_CORE = 100 * 1000 * 1000;
const DEFAULT_CORES = 4;

/** Has workers do what takes long about a delta, with no more at a time than memory allows. */
export class DeltaWork {
  readonly #source: ObjectSource;
  readonly #scratch: string;
  readonly #options: GenerateDeltaOptions;
  readonly #memory: number;

  constructor(repo: Repo, scratch: string, options: GenerateDeltaOptions) {
    this.#source = { mode: repo.mode, ignoreXattrs: repo.ignoreXattrs, objects: join(repo.path, 'objects') };
    this.#scratch = scratch;
    this.#options = options;
    this.#memory = options.memoryBytes ?? Math.min(pool.size, DEFAULT_CORES) * MEMORY_BYTES_PER_CORE;
  }

  /** Compares objects with their sources and chooses how each gets into the delta. */
  async encode(objects: readonly ObjectToEncode[]): Promise<Map<Checksum, EncodedObject>> {
    const options = (index: number): EncodeOptions => ({
      source: this.#source,
      bsdiff: this.#options.bsdiff ?? true,
      maxBsdiffBytes: this.#options.maxBsdiffBytes ?? DEFAULT_MAX_BSDIFF_BYTES,
      spool: join(this.#scratch, `spool-${index}`),
    });
    const batches = inBatches(objects);
    const encoded = new Map<Checksum, EncodedObject>();
    const largest = (batch: ObjectToEncode[]) => Math.max(...batch.map(({ size }) => size));
    await this.#throttled(
      batches.map((batch, index) => ({ batch, index, memory: largest(batch) * COMPARE_FACTOR })),
      async ({ batch, index }) => {
        const task = { kind: 'encode-delta-objects' as const, objects: batch, options: options(index) };
        for (const one of await pool.run(task, cost(batch))) encoded.set(one.checksum, one);
      },
      'compare',
    );
    return encoded;
  }

  /** Sketches files, to find what is similar under another name. */
  async sketch(objects: readonly { checksum: Checksum; size: number }[]): Promise<Sketch[]> {
    const batches = inBatches(objects.map(({ checksum, size }) => ({ checksum, size, from: null })));
    const results: Sketch[][] = [];
    await this.#throttled(
      batches.map((batch, index) => ({ batch, index, memory: Math.max(...batch.map(({ size }) => size)) })),
      async ({ batch, index }) => {
        const options = { source: this.#source, temporary: join(this.#scratch, `sketch-${index}`) };
        const task = { kind: 'sketch-objects' as const, objects: batch.map(({ checksum }) => checksum), options };
        results[index] = await pool.run(task, cost(batch));
      },
    );
    return results.flat();
  }

  /** Builds parts; each with the path of its file. */
  async build(parts: readonly ArrangedPart[]): Promise<(Omit<DeltaPart, 'inline'> & { path: string })[]> {
    const built: (Omit<DeltaPart, 'inline'> & { path: string })[] = [];
    const tasks = parts.map((part, index) => ({
      part,
      index,
      memory: COMPRESSOR_BYTES + part.payload * COMPRESS_FACTOR,
    }));
    await this.#throttled(
      tasks,
      async ({ part: { metadata, files, payload }, index }) => {
        const path = join(this.#scratch, `part-${index}`);
        const part = { source: this.#source, metadata, files, path, temporary: `${path}.temporary` };
        const result = await pool.run({ kind: 'build-delta-part', part }, payload * 4);
        const objects = [...metadata, ...files.map(({ checksum }) => ({ type: 'file' as const, checksum }))];
        built[index] = { ...result, objects: objects.map(({ type, checksum }) => ({ type, checksum })), path };
      },
      'compress',
    );
    return built;
  }

  /** Runs tasks, the costliest first, as many at a time as there are cores and as memory allows. */
  async #throttled<T extends { memory: number }>(
    tasks: readonly T[],
    run: (task: T) => Promise<void>,
    phase?: 'compare' | 'compress',
  ): Promise<void> {
    const queue = tasks.toSorted((a, b) => b.memory - a.memory);
    const { signal, onProgress } = this.#options;
    let used = 0;
    let done = 0;
    const running = new Set<Promise<void>>();
    try {
      while (queue.length > 0 || running.size > 0) {
        signal?.throwIfAborted();
        const next = queue.findIndex(({ memory }) => running.size === 0 || used + memory <= this.#memory);
        if (next >= 0 && running.size < pool.size + 1) {
          const [task] = queue.splice(next, 1);
          used += task!.memory;
          const promise = run(task!).finally(() => {
            used -= task!.memory;
            running.delete(promise);
            if (phase) onProgress?.({ phase, done: ++done, total: tasks.length });
          });
          running.add(promise);
        } else await Promise.race(running);
      }
    } finally {
      // Nothing may still be writing when the folder goes away.
      await Promise.allSettled(running);
    }
  }
}

function inBatches(objects: readonly ObjectToEncode[]): ObjectToEncode[][] {
  const batches: ObjectToEncode[][] = [];
  let room = 0;
  for (const { checksum, size, from } of objects) {
    if (room <= 0) {
      batches.push([]);
      room = BATCH_BYTES;
    }
    batches.at(-1)!.push({ checksum, size, from });
    room -= size + FILE_COST;
  }
  return batches;
}

function cost(batch: readonly ObjectToEncode[]): number {
  return batch.reduce((sum, { size }) => sum + size + FILE_COST, 0);
}
