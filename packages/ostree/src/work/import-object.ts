import { createHash, hash } from 'node:crypto';
import { createReadStream, createWriteStream, renameSync, unlinkSync, writeFileSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { createInflateRaw } from 'node:zlib';
import { OstreeError } from '../errors.ts';
import { decodeFilezHeader, encodeFileHeader, type FilezHeader, filezHeaderLength } from '../formats/file.ts';
import { S_IFLNK, S_IFMT } from '../formats/mode.ts';
import { type Checksum, corruptedObject } from '../formats/object-name.ts';
import { assertStorable, finishBareFile } from './bare-object.ts';
import { inflateRaw } from './deflate.ts';
import { isStored, type ObjectTarget, type StoredObject, stageBuffer } from './store-file.ts';

/**
 * Checks a received filez of moderate size against its name and stages it. In an archive repository its bytes
 * are kept as they are.
 *
 * @throws OstreeError `corrupt`, naming the object and the offset; nothing is staged then
 */
export function importFilez(target: ObjectTarget, checksum: Checksum, data: Uint8Array): StoredObject {
  const object = `${checksum}.filez`;
  if (target.mode === 'archive' && isStored(target, checksum)) return { checksum, size: 0, written: 0 };
  const { head, content } = verifyFilez(checksum, data);
  if (target.mode !== 'archive') return stageBuffer(target, checksum, head.header, content);
  writeFileSync(join(target.staging, object), data, { mode: 0o644 });
  return { checksum, size: content.length, written: data.length };
}

/**
 * Inflates a filez in memory and checks its content against its name. The content is good until this thread
 * inflates the next. Throws `corrupt`.
 */
export function verifyFilez(checksum: Checksum, data: Uint8Array): { head: FilezHeader; content: Uint8Array } {
  const object = `${checksum}.filez`;
  const head = decodeFilezHeader(data, object);
  const hashedHeader = encodeFileHeader(head.header);
  // One call hashes what lies in one piece, which for a small file takes a third of the time of three calls.
  const whole = inflateBody(head, data.subarray(head.bodyOffset), object, hashedHeader);
  const actual = hash('sha256', whole, 'hex');
  if (actual !== checksum) throw corruptedObject('file', checksum, actual, object, head.bodyOffset);
  return { head, content: whole.subarray(hashedHeader.length) };
}

/**
 * Inflates a body that says how long it is; more than that, or rubbish after it, is refused before it is made. `before`
 * is put before it.
 */
export function inflateBody(head: FilezHeader, body: Uint8Array, object: string, before = NOTHING): Uint8Array {
  const offset = head.bodyOffset;
  if ((head.header.mode & S_IFMT) === S_IFLNK) {
    if (body.length === 0) return before;
    throw new OstreeError('corrupt', `${object}: a symlink with content at byte ${offset}`, { object, offset });
  }
  let content: Buffer | null;
  try {
    content = inflateRaw(body, head.size, before);
  } catch (cause) {
    throw notInflatable(object, offset, cause);
  }
  if (!content) throw wrongLength(object, offset, head.size);
  return content;
}

/**
 * Checks a received filez of any size that lies in a file, without holding it in memory, and moves it into
 * staging (archive), or stages its unpacked content. The file is gone afterwards, also when it was refused.
 */
export async function importFilezFile(target: ObjectTarget, checksum: Checksum, path: string): Promise<StoredObject> {
  const object = `${checksum}.filez`;
  if (isStored(target, checksum)) {
    unlinkSync(path);
    return { checksum, size: 0, written: 0 };
  }
  const unpacked = target.mode === 'archive' ? undefined : join(target.staging, `${checksum}.file`);
  try {
    const { head, bytes } = await verifyFilezFile(checksum, path, (header) => {
      if (!unpacked) return undefined;
      assertStorable(target, header.header, checksum);
      return createWriteStream(unpacked, { flags: 'wx', mode: 0o600 });
    });
    if (!unpacked) renameSync(path, join(target.staging, object));
    else {
      // Nobody sends a symlink of this size; if somebody does, it is one.
      if ((head.header.mode & S_IFMT) === S_IFLNK) stageBuffer(target, checksum, head.header, new Uint8Array(0));
      else finishBareFile(target, unpacked, head.header);
      unlinkSync(path);
    }
    return { checksum, size: head.size, written: unpacked ? head.size : bytes };
  } catch (error) {
    unlinkIfThere(path);
    if (unpacked) unlinkIfThere(unpacked);
    throw error;
  }
}

const NOTHING: Uint8Array = new Uint8Array(0);
/** Read and inflated at a time: each piece crosses to another thread and back. */
const PIECE_BYTES = 256 * 1024;

/** Checks a filez file of any size against its name; its content also goes to `copyTo`, if that gives a stream. */
export async function verifyFilezFile(
  checksum: Checksum,
  path: string,
  copyTo: (head: FilezHeader) => NodeJS.WritableStream | undefined = () => undefined,
): Promise<{ head: FilezHeader; bytes: number }> {
  const object = `${checksum}.filez`;
  const { head, bytes } = await readFilezHead(path, object);
  const content = createHash('sha256').update(encodeFileHeader(head.header));
  const isLink = (head.header.mode & S_IFMT) === S_IFLNK;
  if (isLink && bytes > head.bodyOffset) {
    throw new OstreeError('corrupt', `${object}: a symlink with content at byte ${head.bodyOffset}`, { object });
  }
  let length = 0;
  if (!isLink) {
    const inflate = createInflateRaw({ chunkSize: PIECE_BYTES });
    const measure = async function* (pieces: AsyncIterable<Buffer>) {
      for await (const piece of pieces) {
        length += piece.length;
        if (length > head.size) throw wrongLength(object, head.bodyOffset, head.size, length);
        content.update(piece);
        yield piece;
      }
    };
    const sink = copyTo(head) ?? discard;
    try {
      const source = createReadStream(path, { start: head.bodyOffset, highWaterMark: PIECE_BYTES });
      await pipeline(source, inflate, measure, sink);
    } catch (cause) {
      throw cause instanceof OstreeError ? cause : notInflatable(object, head.bodyOffset, cause);
    }
    if (length !== head.size || inflate.bytesWritten !== bytes - head.bodyOffset) {
      throw wrongLength(object, head.bodyOffset, head.size, length);
    }
  }
  const actual = content.digest('hex');
  if (actual !== checksum) throw corruptedObject('file', checksum, actual, object, head.bodyOffset);
  return { head, bytes };
}

async function readFilezHead(path: string, object: string): Promise<{ head: FilezHeader; bytes: number }> {
  const handle = await open(path);
  try {
    const { size } = await handle.stat();
    const start = Buffer.alloc(8);
    const { bytesRead } = await handle.read(start, 0, 8, 0);
    const data = Buffer.alloc(filezHeaderLength(start.subarray(0, bytesRead), object));
    const more = await handle.read(data, 0, data.length, 0);
    return { head: decodeFilezHeader(data.subarray(0, more.bytesRead), object), bytes: size };
  } finally {
    await handle.close();
  }
}

async function discard(pieces: AsyncIterable<Buffer>): Promise<void> {
  for await (const _ of pieces);
}

function unlinkIfThere(path: string): void {
  try {
    unlinkSync(path);
  } catch {
    // it was never made
  }
}

function wrongLength(object: string, offset: number, expected: number, found?: number): OstreeError {
  const soFar = found === undefined ? '' : ` (${found} so far)`;
  const message = `${object}: what starts at byte ${offset} is not ${expected} bytes of content${soFar}`;
  return new OstreeError('corrupt', message, { object, offset });
}

function notInflatable(object: string, offset: number, cause: unknown): OstreeError {
  const reason = cause instanceof Error ? cause.message : String(cause);
  return new OstreeError('corrupt', `${object}: cannot be inflated from byte ${offset}: ${reason}`, {
    object,
    offset,
    cause,
  });
}
