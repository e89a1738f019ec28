import { createHash } from 'node:crypto';
import { closeSync, openSync, readFileSync, readSync, renameSync, rmSync, statSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { OstreeError } from '../errors.ts';
import { encodeFileHeader, type FileHeader } from '../formats/file.ts';
import { S_IFLNK, S_IFMT, S_IFREG } from '../formats/mode.ts';
import type { Checksum } from '../formats/object-name.ts';
import { xzDecompress } from '../fs/lzma.ts';
import { assertStorable, finishBareFile } from '../work/bare-object.ts';
import { isStored, type ObjectTarget, type StoredObject, stageBuffer, WHOLE_FILE_BYTES } from '../work/store-file.ts';
import { bspatch } from './bspatch.ts';
import { readOperations } from './operations.ts';
import { decodePayload, type PartPayload } from './part.ts';
import { type OpenContent, openContent } from './source-content.ts';
import type { DeltaObjectType, DeltaPart } from './superblock.ts';

/** A part as a worker gets it. */
export interface PartToApply {
  /** The part file's path, or its bytes. */
  part: string | Uint8Array;
  header: Omit<DeltaPart, 'inline'>;
  /** Whether its SHA-256 is to be checked; bytes inside a superblock need not be. */
  verify: boolean;
  /** What temporary files are named after. */
  temporary: string;
  /** Said in errors. */
  object: string;
}

export interface AppliedPart {
  /** Content objects that were staged, or were there. */
  stored: StoredObject[];
  /** Metadata objects, not checked yet: the transaction takes them in. */
  metadata: { type: Exclude<DeltaObjectType, 'file'>; checksum: Checksum; data: Uint8Array }[];
  /** Files too large for one worker, on their way into an archive: checked, to be compressed, and then removed. */
  large: { checksum: Checksum; path: string; size: number; header: FileHeader }[];
}

/** libostree's readers, too, unpack no more since 2026.3. */
const MAX_PAYLOAD_BYTES = 100 * 1024 * 1024;
/** A part file that is not worth being one: incompressible data takes a little more than itself. */
const MAX_PART_BYTES = MAX_PAYLOAD_BYTES + 1024 * 1024;
/** For xz dictionaries of up to 64 MiB (preset 9), and what liblzma needs beside. */
const XZ_MEMORY_BYTES = 128 * 1024 * 1024;

/**
 * Unpacks a part and stages the objects that it makes, each only if it is what its name says. Needs memory for the
 * part, packed and unpacked; files are not held in memory.
 *
 * @throws OstreeError `corrupt`, `not-found` for a source that is not there, `unsupported`
 */
export async function applyPart(target: ObjectTarget, task: PartToApply): Promise<AppliedPart> {
  const { header, object } = task;
  const payload = readPart(task);
  const limits = {
    objects: header.objects,
    blobLength: payload.blob.length,
    modes: payload.modes.length,
    xattrs: payload.xattrs.length,
    object,
  };
  const applier = new PartApplier(target, task, payload);
  try {
    for (const operation of readOperations(payload.operations, limits)) {
      switch (operation.op) {
        case 'metadata': {
          const { checksum } = header.objects[operation.index]!;
          const data = payload.blob.slice(operation.offset, operation.offset + operation.length);
          applier.account(data.length);
          applier.result.metadata.push({ type: operation.type, checksum, data });
          break;
        }
        case 'file':
          applier.storeWhole(operation);
          break;
        case 'open':
          applier.open(operation);
          break;
        case 'set-source':
          await applier.setSource(operation.offset);
          break;
        case 'unset-source':
          applier.unsetSource();
          break;
        case 'write':
          applier.write(operation.offset, operation.length);
          break;
        case 'patch':
          applier.patch(operation.offset, operation.length);
          break;
        case 'close':
          applier.close();
          break;
      }
    }
    return applier.result;
  } finally {
    applier.end();
  }
}

/** A part's payload: the file is checked, unpacked within limits, and taken apart. */
export function readPart(
  task: Pick<PartToApply, 'part' | 'verify' | 'object'> & { header: Pick<DeltaPart, 'checksum' | 'objects'> },
): PartPayload {
  const { part, verify, object, header } = task;
  const length = typeof part === 'string' ? statSync(part).size : part.length;
  if (length > MAX_PART_BYTES) {
    throw new OstreeError('unsupported', `${object}: ${length} bytes are more than a part can have`, { object });
  }
  const file = typeof part === 'string' ? readFileSync(part) : part;
  if (verify) {
    const actual = createHash('sha256').update(file).digest('hex');
    if (actual !== header.checksum) {
      const message = `Checksum mismatch in static delta part; expected=${header.checksum} actual=${actual}`;
      throw new OstreeError('corrupt', `${object}: ${message}`, { object });
    }
  }
  const body = file.subarray(1);
  switch (file[0]) {
    case 0:
      if (body.length > MAX_PAYLOAD_BYTES) {
        throw new OstreeError('unsupported', `${object}: ${body.length} bytes are too many`, { object });
      }
      return decodePayload(body, header.objects.length, object);
    case 0x78:
      return decodePayload(
        xzDecompress(body, { output: MAX_PAYLOAD_BYTES, memory: XZ_MEMORY_BYTES, object }),
        header.objects.length,
        object,
      );
    default:
      throw new OstreeError('corrupt', `${object}: Invalid compression type '${file[0]}'`, { object });
  }
}

/** Files beyond this are written to disk while they are made. */
const IN_MEMORY_BYTES = WHOLE_FILE_BYTES;

interface OpenFile {
  checksum: Checksum;
  header: FileHeader;
  size: number;
  /** The object is there already: nothing is written. */
  known: boolean;
  sink: Sink | null;
}

class PartApplier {
  readonly result: AppliedPart = { stored: [], metadata: [], large: [] };
  readonly #target: ObjectTarget;
  readonly #task: PartToApply;
  readonly #payload: PartPayload;
  #source: { checksum: Checksum; content: OpenContent } | null = null;
  /** What the source is set to; it is opened when it is needed. */
  #file: OpenFile | null = null;
  #made = 0;
  #temporaries = 0;

  constructor(target: ObjectTarget, task: PartToApply, payload: PartPayload) {
    this.#target = target;
    this.#task = task;
    this.#payload = payload;
  }

  #bad(why: string): OstreeError {
    const { object } = this.#task;
    return new OstreeError('corrupt', `${object}: ${why}`, { object });
  }

  /** What a part makes is bounded by what the superblock says it makes. */
  account(bytes: number): void {
    this.#made += bytes;
    const { unpackedSize } = this.#task.header;
    if (this.#made > unpackedSize) throw this.#bad(`more than the ${unpackedSize} bytes that the superblock says`);
  }

  #header(operation: { mode: number; xattrs: number }): FileHeader {
    const { uid, gid, mode } = this.#payload.modes[operation.mode]!;
    const type = mode & S_IFMT;
    if ((type !== S_IFREG && type !== S_IFLNK) || (mode & ~(S_IFMT | 0o7777)) !== 0) {
      throw this.#bad(`mode 0${mode.toString(8)} is neither a file's nor a symlink's`);
    }
    return { uid, gid, mode, symlinkTarget: '', xattrs: this.#payload.xattrs[operation.xattrs]! };
  }

  storeWhole(operation: { index: number; mode: number; xattrs: number; offset: number; length: number }): void {
    this.unsetSource();
    const { offset, length } = operation;
    const { checksum } = this.#task.header.objects[operation.index]!;
    const header = this.#header(operation);
    const content = this.#payload.blob.subarray(offset, offset + length);
    if ((header.mode & S_IFMT) === S_IFLNK) {
      // Linux has no longer paths.
      if (length === 0 || length > 4096 || content.includes(0)) throw this.#bad('a symlink without a proper target');
      this.#begin(checksum, { ...header, symlinkTarget: Buffer.from(content).toString('utf8') }, 0);
    } else {
      this.account(length);
      this.#begin(checksum, header, length);
      this.#file!.sink?.write(content);
    }
    this.close();
  }

  open(operation: { index: number; mode: number; xattrs: number; size: number }): void {
    const header = this.#header(operation);
    if ((header.mode & S_IFMT) !== S_IFREG) throw this.#bad('a symlink that is opened as a file');
    this.account(operation.size);
    this.#begin(this.#task.header.objects[operation.index]!.checksum, header, operation.size);
  }

  #begin(checksum: Checksum, header: FileHeader, size: number): void {
    const known = isStored(this.#target, checksum);
    this.#file = { checksum, header, size, known, sink: null };
    if (known) return;
    assertStorable(this.#target, header, checksum);
    const path = `${this.#task.temporary}.${this.#temporaries++}`;
    this.#file.sink = size <= IN_MEMORY_BYTES ? new MemorySink(size) : new FileSink(path);
  }

  async setSource(offset: number): Promise<void> {
    const checksum = Buffer.from(this.#payload.blob.subarray(offset, offset + 32)).toString('hex');
    if (this.#source?.checksum === checksum) return;
    this.unsetSource();
    const temporary = () => `${this.#task.temporary}.${this.#temporaries++}`;
    this.#source = { checksum, content: await openContent(this.#target, checksum, temporary) };
  }

  unsetSource(): void {
    this.#source?.content.close();
    this.#source = null;
  }

  write(offset: number, length: number): void {
    const sink = this.#file?.sink;
    if (!sink) return;
    if (!this.#source) {
      sink.write(this.#payload.blob.subarray(offset, offset + length));
      return;
    }
    const { checksum, content } = this.#source;
    if (offset + length > content.size) throw this.#bad(`Unexpected EOF reading object ${checksum}`);
    for (let done = 0; done < length; ) {
      const piece = content.read(offset + done, Math.min(PIECE_BYTES, length - done));
      sink.write(piece);
      done += piece.length;
    }
  }

  patch(offset: number, length: number): void {
    const file = this.#file!;
    const { sink } = file;
    if (!sink) return;
    const patch = this.#payload.blob.subarray(offset, offset + length);
    bspatch(this.#source!.content, patch, file.size, (piece) => sink.write(piece), this.#task.object);
  }

  close(): void {
    this.unsetSource();
    const { checksum, header, size, sink } = this.#file!;
    this.#file = null;
    if (!sink) {
      this.result.stored.push({ checksum, size, written: 0 });
      return;
    }
    const actual = sink.digest(encodeFileHeader(header));
    if (actual !== checksum) {
      sink.discard();
      throw new OstreeError('corrupt', `${this.#task.object}: makes ${actual} where ${checksum}.file should be`, {
        object: `${checksum}.file`,
      });
    }
    if (sink instanceof MemorySink) {
      this.result.stored.push(stageBuffer(this.#target, checksum, header, sink.data));
      return;
    }
    const { path } = sink as FileSink;
    if (this.#target.mode === 'archive') {
      this.result.large.push({ checksum, path, size, header });
      return;
    }
    finishBareFile(this.#target, path, header);
    renameSync(path, join(this.#target.staging, `${checksum}.file`));
    this.result.stored.push({ checksum, size, written: size });
  }

  end(): void {
    this.unsetSource();
    this.#file?.sink?.discard();
  }
}

const PIECE_BYTES = 1024 * 1024;

interface Sink {
  write(piece: Uint8Array): void;
  /** SHA-256 of a header and what was written; nothing is written after. */
  digest(header: Uint8Array): Checksum;
  discard(): void;
}

class MemorySink implements Sink {
  readonly data: Uint8Array;
  #at = 0;

  constructor(size: number) {
    this.data = Buffer.allocUnsafe(size);
  }

  write(piece: Uint8Array): void {
    this.data.set(piece, this.#at);
    this.#at += piece.length;
  }

  digest(header: Uint8Array): Checksum {
    return createHash('sha256').update(header).update(this.data).digest('hex');
  }

  discard(): void {}
}

/** Content on its way to disk. It is hashed when it is complete: pieces may be tiny, and a read from cache is cheap. */
class FileSink implements Sink {
  readonly path: string;
  readonly #fd: number;
  readonly #buffer = Buffer.allocUnsafeSlow(PIECE_BYTES);
  #filled = 0;
  #open = true;

  constructor(path: string) {
    this.path = path;
    this.#fd = openSync(path, 'wx+', 0o600);
  }

  write(piece: Uint8Array): void {
    if (this.#filled + piece.length > this.#buffer.length) this.#flush();
    if (piece.length >= this.#buffer.length) {
      writeAll(this.#fd, piece);
      return;
    }
    this.#buffer.set(piece, this.#filled);
    this.#filled += piece.length;
  }

  #flush(): void {
    writeAll(this.#fd, this.#buffer.subarray(0, this.#filled));
    this.#filled = 0;
  }

  digest(header: Uint8Array): Checksum {
    this.#flush();
    const hash = createHash('sha256').update(header);
    for (let at = 0; ; ) {
      const count = readSync(this.#fd, this.#buffer, 0, this.#buffer.length, at);
      if (count === 0) break;
      hash.update(this.#buffer.subarray(0, count));
      at += count;
    }
    this.#close();
    return hash.digest('hex');
  }

  #close(): void {
    if (this.#open) closeSync(this.#fd);
    this.#open = false;
  }

  discard(): void {
    this.#close();
    rmSync(this.path, { force: true });
  }
}

function writeAll(fd: number, data: Uint8Array): void {
  for (let at = 0; at < data.length; ) at += writeSync(fd, data, at);
}
