import { closeSync, fstatSync, lstatSync, openSync, readSync } from 'node:fs';
import { OstreeError, systemCode } from '../errors.ts';
import { filezParts } from '../repo/filez-parts.ts';
import { objectPath } from '../repo/objects.ts';
import { withParents } from '../repo/parents.ts';
import type { Repo } from '../repo/repo.ts';
import { repoSettings } from '../repo/settings.ts';
import type { ArchivedObject, ObjectToArchive } from '../work/archive-object.ts';
import { readBareObject } from '../work/bare-object.ts';
import { pool } from '../work/pool.ts';
import type { ObjectId } from './object-list.ts';
import { type PackPiece, SMALL_BYTES } from './pack.ts';
import type { ObjectToSend, SendQueue } from './send-queue.ts';

/** What of a large object is sent at a time: between two, a pack can end. */
const PIECE_BYTES = 1024 * 1024;
/** So much of small objects is given out at a time. */
const GROUP_BYTES = 256 * 1024;
/** Objects that a worker compresses at a time. */
const BATCH_OBJECTS = 64;
const BATCH_BYTES = 1024 * 1024;
const FILE_COST = 4096;

/** Where an object is: in the repository, or in the nearest parent that has it. */
export function locateObject(repo: Repo, { type, checksum }: ObjectId): { repo: Repo; path: string } {
  if (!repo.parent) return { repo, path: objectPath(repo, type, checksum) };
  const candidates = withParents(repo).map((one) => ({ repo: one, path: objectPath(one, type, checksum) }));
  return candidates.find(({ path }) => lstatSync(path, { throwIfNoEntry: false })) ?? candidates[0]!;
}

/** The error for an object that a commit needs and the sender has not. */
export function notHere(repo: Repo, { type, checksum }: ObjectId): OstreeError {
  const object = `${checksum}.${type}`;
  return new OstreeError('not-found', `${repo.path}: has no object ${object}, which is to be pushed`, {
    object,
    hint: 'The commit is not whole here: pull it again, or look with `treeline repo fsck`.',
  });
}

/** Bytes that an object will take on the way; null where it is yet to be compressed. */
export function bytesToSend(repo: Repo, object: ObjectToSend): number | null {
  const at = locateObject(repo, object);
  if (object.type === 'file' && at.repo.mode !== 'archive') return null;
  const stats = lstatSync(at.path, { throwIfNoEntry: false });
  if (!stats) throw notHere(repo, object);
  return Math.max(0, stats.size - object.from);
}

export interface OutgoingOptions {
  signal: AbortSignal | undefined;
  /** Told of an object when its last piece is given out. */
  sent(object: ObjectToSend): void;
}

/**
 * Takes objects from a queue and gives them out in pieces, as an archive repository has them. Small ones come many at a
 * time. What came is good until the next is asked for.
 */
export async function* outgoing(
  repo: Repo,
  queue: SendQueue,
  options: OutgoingOptions,
): AsyncGenerator<readonly PackPiece[], void, undefined> {
  const small = new SmallObjects();
  for (let object = await queue.take(); object; object = await queue.take()) {
    const at = locateObject(repo, object);
    try {
      if (object.type === 'file' && at.repo.mode !== 'archive') {
        yield* barePieces(repo, queue, { first: object, options });
        continue;
      }
      const size = small.tryRead(at.path, object);
      if (size === null) {
        yield* largeStored(at.path, object);
        options.sent(object);
        continue;
      }
      options.sent(object);
      const next = queue.takeNow();
      if (next) queue.untake(next);
      if (!next || small.full) yield small.take();
    } catch (error) {
      if (systemCode(error) === 'ENOENT') throw notHere(repo, object);
      throw error;
    }
  }
  if (!small.empty) yield small.take();
}

/** Objects that are sent as they lie there, read one after the other into one piece of memory. */
class SmallObjects {
  readonly #memory = Buffer.allocUnsafeSlow(SMALL_BYTES);
  #used = 0;
  #pieces: PackPiece[] = [];

  get empty(): boolean {
    return this.#pieces.length === 0;
  }

  get full(): boolean {
    return this.#used >= GROUP_BYTES;
  }

  take(): readonly PackPiece[] {
    const pieces = this.#pieces;
    this.#pieces = [];
    this.#used = 0;
    return pieces;
  }

  /** Reads one. Null for one that is too large, or for which the room is used up. */
  tryRead(path: string, { type, checksum }: ObjectToSend): number | null {
    const fd = openSync(path, 'r');
    try {
      const { size } = fstatSync(fd);
      if (size > SMALL_BYTES) return null;
      const memory = this.#used + size <= SMALL_BYTES ? this.#memory : Buffer.allocUnsafeSlow(size);
      const start = memory === this.#memory ? this.#used : 0;
      for (let at = 0; at < size; ) {
        const length = readSync(fd, memory, start + at, size - at, at);
        if (length === 0) throw becameShorter(path);
        at += length;
      }
      this.#used += size;
      this.#pieces.push({ type, checksum, total: size, offset: 0, data: memory.subarray(start, start + size) });
      return size;
    } finally {
      closeSync(fd);
    }
  }
}

/** Pieces of a large object that is sent as it lies there. */
function* largeStored(path: string, { type, checksum, from }: ObjectToSend): Generator<readonly PackPiece[]> {
  const fd = openSync(path, 'r');
  try {
    const { size } = fstatSync(fd);
    const memory = Buffer.allocUnsafeSlow(PIECE_BYTES);
    // More than there is has been received: it was compressed in another way.
    for (let offset = from < size ? from : 0; offset < size; ) {
      const length = readSync(fd, memory, 0, Math.min(PIECE_BYTES, size - offset), offset);
      if (length === 0) throw becameShorter(path);
      yield [{ type, checksum, total: size, offset, data: memory.subarray(0, length) }];
      offset += length;
    }
  } finally {
    closeSync(fd);
  }
}

function becameShorter(path: string): OstreeError {
  return new OstreeError('changed', `${path}: became shorter while it was being read`);
}

interface BareBatch {
  first: ObjectToSend;
  options: OutgoingOptions;
}

/** Compresses what there is to be sent of a bare repository: small files many at a time, a large one by several cores. */
async function* barePieces(
  repo: Repo,
  queue: SendQueue,
  { first, options }: BareBatch,
): AsyncGenerator<readonly PackPiece[], void, undefined> {
  const batch: ObjectToSend[] = [];
  const tasks: ObjectToArchive[] = [];
  const source = locateObject(repo, first).repo;
  let bytes = 0;
  for (let object: ObjectToSend | null = first; object; object = queue.takeNow()) {
    const at = locateObject(repo, object);
    const size = lstatSync(at.path).size;
    const isAlone = object.type !== 'file' || at.repo !== source || size > SMALL_BYTES;
    if (isAlone && object !== first) {
      queue.untake(object);
      break;
    }
    if (isAlone) {
      yield* largePieces(at, object, options.signal);
      options.sent(object);
      return;
    }
    batch.push(object);
    tasks.push({ checksum: object.checksum, path: at.path });
    bytes += size + FILE_COST;
    if (batch.length >= BATCH_OBJECTS || bytes >= BATCH_BYTES) break;
  }
  const { mode, ignoreXattrs } = source;
  const level = repoSettings(repo.config).zlibLevel;
  const format = { mode, ignoreXattrs };
  const archived: ArchivedObject[] = await pool.run({ kind: 'archive-objects', format, level, objects: tasks }, bytes);
  yield archived.map(({ checksum, filez }) => ({
    type: 'file',
    checksum,
    total: filez.length,
    offset: 0,
    data: filez,
  }));
  for (const object of batch) options.sent(object);
}

/** Compresses a large file as it goes; its length is known only at the end. */
async function* largePieces(
  at: { repo: Repo; path: string },
  { checksum, from }: ObjectToSend,
  signal: AbortSignal | undefined,
): AsyncGenerator<readonly PackPiece[], void, undefined> {
  const { header, size } = readBareObject(at.repo, at.path, `${checksum}.file`);
  const level = repoSettings(at.repo.config).zlibLevel;
  const run = (task: Parameters<typeof pool.run<'deflate-piece'>>[0], cost: number) => pool.run(task, cost);
  let offset = 0;
  let held: PackPiece | undefined;
  for await (const part of filezParts({ path: at.path, header, size }, { level, signal, run })) {
    const end = offset + part.length;
    // What has been received is made again, but not sent again.
    if (end > from) {
      if (held) yield [held];
      const start = Math.max(offset, from);
      held = { type: 'file', checksum, total: null, offset: start, data: part.subarray(start - offset) };
    }
    offset = end;
  }
  if (held) yield [{ ...held, total: offset }];
}
