import { closeSync, createReadStream, createWriteStream, fstatSync, openSync, readSync, unlinkSync } from 'node:fs';
import { join } from 'node:path';
import { Transform } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { createInflateRaw } from 'node:zlib';
import { OstreeError, systemCode } from '../errors.ts';
import { decodeFilezHeader, type FileHeader, filezHeaderLength } from '../formats/file.ts';
import { S_IFMT, S_IFREG } from '../formats/mode.ts';
import { type Checksum, loosePath } from '../formats/object-name.ts';
import { fileExtension, type ObjectFormat } from '../repo/repo.ts';
import { readBareObject } from '../work/bare-object.ts';
import { inflateRaw } from '../work/deflate.ts';
import type { OldContent } from './bspatch.ts';

/** Where content objects are read: of a transaction's repository, or of any. */
export interface ObjectSource extends ObjectFormat {
  /** The repository's `objects` folder. */
  objects: string;
}

/** A regular file's content that stays open until it is closed. */
export interface OpenContent extends OldContent {
  readonly header: FileHeader;
  /** All of it, where it is in memory anyway. */
  readonly exclusive?: Uint8Array;
  close(): void;
}

/** An archive's object of up to this size is inflated in memory, a larger one into a temporary file. */
const IN_MEMORY_BYTES = 16 * 1024 * 1024;

/**
 * Opens the content of a regular file of a repository of any mode, to be read anywhere.
 *
 * @param temporary path of a file that may be made; it is gone when the content is closed
 * @throws OstreeError `not-found`, `corrupt`
 */
export async function openContent(
  source: ObjectSource,
  checksum: Checksum,
  temporary: () => string,
): Promise<OpenContent> {
  const object = `${checksum}.file`;
  const path = join(source.objects, loosePath(checksum, fileExtension(source.mode)));
  try {
    const content = await (source.mode === 'archive'
      ? openFilez(path, object, temporary)
      : openBare(source, path, object));
    if ((content.header.mode & S_IFMT) === S_IFREG) return content;
    content.close();
  } catch (cause) {
    if (systemCode(cause) !== 'ENOENT') throw cause;
    throw new OstreeError('not-found', `${source.objects}: no object ${object}`, { object, cause });
  }
  throw new OstreeError('corrupt', `${object}: is no regular file`, { object });
}

function openBare(source: ObjectSource, path: string, object: string): OpenContent {
  const { header } = readBareObject(source, path, object);
  if ((header.mode & S_IFMT) !== S_IFREG) return { header, ...inMemory(new Uint8Array(0)) };
  return { header, ...inFile(path) };
}

async function openFilez(path: string, object: string, temporary: () => string): Promise<OpenContent> {
  const fd = openSync(path, 'r');
  try {
    const { size: stored } = fstatSync(fd);
    const start = readAt(fd, 0, Math.min(stored, 8));
    const { header, size, bodyOffset } = decodeFilezHeader(readAt(fd, 0, filezHeaderLength(start, object)), object);
    if (size > IN_MEMORY_BYTES || stored > IN_MEMORY_BYTES) {
      const unpacked = temporary();
      await inflateToFile(path, bodyOffset, size, unpacked, object);
      return { header, ...inFile(unpacked, true) };
    }
    return { header, ...inMemory(inflate(readAt(fd, bodyOffset, stored - bodyOffset), size, object)) };
  } finally {
    closeSync(fd);
  }
}

function inflate(body: Uint8Array, size: number, object: string): Uint8Array {
  if (body.length === 0 && size === 0) return body;
  let content: Buffer | null;
  try {
    content = inflateRaw(body, size);
  } catch (cause) {
    throw new OstreeError('corrupt', `${object}: cannot be inflated: ${(cause as Error).message}`, { object, cause });
  }
  if (!content) throw new OstreeError('corrupt', `${object}: its content is not ${size} bytes`, { object });
  // A copy: what inflates hands out a buffer that the next call in this thread uses again.
  return new Uint8Array(content);
}

async function inflateToFile(path: string, start: number, size: number, to: string, object: string): Promise<void> {
  let length = 0;
  const measure = new Transform({
    transform(chunk: Buffer, _encoding, done) {
      length += chunk.length;
      done(length > size ? new OstreeError('corrupt', `more than ${size} bytes`) : null, chunk);
    },
  });
  try {
    const out = createWriteStream(to, { flags: 'wx', mode: 0o600 });
    await pipeline(createReadStream(path, { start }), createInflateRaw(), measure, out);
  } catch (cause) {
    throw new OstreeError('corrupt', `${object}: cannot be inflated: ${(cause as Error).message}`, { object, cause });
  }
  if (length !== size) throw new OstreeError('corrupt', `${object}: ${length} bytes of ${size}`, { object });
}

function readAt(fd: number, offset: number, length: number): Buffer {
  const data = Buffer.allocUnsafeSlow(length);
  let done = 0;
  while (done < length) {
    const count = readSync(fd, data, done, length - done, offset + done);
    if (count === 0) break;
    done += count;
  }
  return data.subarray(0, done);
}

function inMemory(data: Uint8Array): Omit<OpenContent, 'header'> {
  return {
    size: data.length,
    exclusive: data,
    read: (offset, length) => data.subarray(offset, offset + length),
    close: () => {},
  };
}

const READ_BYTES = 1024 * 1024;
let buffer = Buffer.alloc(0);

function inFile(path: string, temporary = false): Omit<OpenContent, 'header'> {
  const fd = openSync(path, 'r');
  if (temporary) unlinkSync(path);
  const { size } = fstatSync(fd);
  return {
    size,
    read(offset, length) {
      if (buffer.length < length) buffer = Buffer.allocUnsafeSlow(Math.max(READ_BYTES, length));
      for (let done = 0; done < length; ) {
        const count = readSync(fd, buffer, done, length - done, offset + done);
        if (count === 0) throw new OstreeError('changed', `${path}: ended at byte ${offset + done}`);
        done += count;
      }
      return buffer.subarray(0, length);
    },
    close: () => closeSync(fd),
  };
}

/** The whole content of a regular file, in memory. */
export async function readContent(
  source: ObjectSource,
  checksum: Checksum,
  temporary: () => string,
): Promise<Uint8Array> {
  const content = await openContent(source, checksum, temporary);
  try {
    return content.exclusive ?? readAll(content);
  } finally {
    content.close();
  }
}

function readAll(content: OpenContent): Uint8Array {
  const data = new Uint8Array(content.size);
  for (let at = 0; at < data.length; ) {
    const piece = content.read(at, Math.min(READ_BYTES, data.length - at));
    data.set(piece, at);
    at += piece.length;
  }
  return data;
}
