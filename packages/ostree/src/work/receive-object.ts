import { hash } from 'node:crypto';
import {
  closeSync,
  fchmodSync,
  fstatSync,
  mkdirSync,
  openSync,
  readFileSync,
  readSync,
  renameSync,
  rmSync,
  statSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import { decodeCommit } from '../formats/commit.ts';
import { decodeDirMeta } from '../formats/dirmeta.ts';
import { decodeDirTree } from '../formats/dirtree.ts';
import { type Checksum, corruptedObject } from '../formats/object-name.ts';
import { decode } from '../gvariant/decode.ts';
import type { PackedType } from '../push/pack.ts';
import { verifyFilez, verifyFilezFile } from './import-object.ts';
import { type BatchedObject, batchedObjects } from './object-batch.ts';

/** One that was received into a file, because of its size. */
export interface SpooledObject {
  type: PackedType;
  checksum: Checksum;
  path: string;
}

/** What may be inflated in memory; a small object can stand for a large file of zeros. */
const INFLATE_IN_MEMORY_BYTES = 32n * 1024n * 1024n;

/** The name of the file that an object is in an archive repository, before it has its place. */
export function receivedName(type: PackedType, checksum: Checksum): string {
  return `${checksum}.${type === 'file' ? 'filez' : type}`;
}

/**
 * Checks objects against their names and writes them into a folder of the push, under their names. The folder gets its
 * own name when all is written: the process may be killed at any moment, and what it leaves counts as received. When
 * one object is refused, those before it are kept. One alone gets no folder.
 *
 * @param memory objects as an `ObjectBatch` has put them together
 * @returns the memory, for whoever fills it again
 * @throws OstreeError `corrupt`
 */
export async function receiveObjects(
  { folder: parent, batch }: { folder: string; batch: string },
  memory: ArrayBuffer,
): Promise<ArrayBuffer> {
  const objects = batchedObjects(memory);
  const folder = join(parent, `.${batch}`);
  const [first, second] = objects;
  if (first && !second) {
    await receiveObject(folder, first);
    renameSync(folder, join(parent, receivedName(first.type, first.checksum)));
    return memory;
  }
  mkdirSync(folder);
  try {
    for (const object of objects) {
      // Waiting for what there is nothing to wait for is a third of the time that a small object takes.
      const done = receiveObject(`${folder}/${receivedName(object.type, object.checksum)}`, object);
      if (done) await done;
    }
  } finally {
    renameSync(folder, join(parent, batch));
  }
  return memory;
}

function receiveObject(path: string, { type, checksum, data }: BatchedObject): Promise<void> | undefined {
  const isLarge = type === 'file' && data.length >= 16 && sizeField(data) > INFLATE_IN_MEMORY_BYTES;
  if (!isLarge) assertIs(type, checksum, data);
  try {
    write(path, data);
  } catch (error) {
    rmSync(path, { force: true });
    throw error;
  }
  return isLarge ? verifyWritten(path, checksum) : undefined;
}

async function verifyWritten(path: string, checksum: Checksum): Promise<void> {
  try {
    await verifyFilezFile(checksum, path);
  } catch (error) {
    rmSync(path, { force: true });
    throw error;
  }
}

/**
 * The same for one in a file, which is moved. What was refused is gone.
 *
 * @returns bytes that it takes
 */
export async function receiveSpooled(folder: string, { type, checksum, path }: SpooledObject): Promise<number> {
  const place = join(folder, receivedName(type, checksum));
  try {
    if (type !== 'file' || fitsMemory(path)) assertIs(type, checksum, readFileSync(path));
    else await verifyFilezFile(checksum, path);
  } catch (error) {
    rmSync(path, { force: true });
    throw error;
  }
  const { size } = statSync(path);
  renameSync(path, place);
  return size;
}

/** Whether a file in memory, packed and unpacked, is no more than a worker may hold. */
function fitsMemory(path: string): boolean {
  const fd = openSync(path, 'r');
  try {
    const start = Buffer.alloc(16);
    const isRead = readSync(fd, start, 0, 16, 0) === 16;
    return (
      isRead && BigInt(fstatSync(fd).size) <= INFLATE_IN_MEMORY_BYTES && sizeField(start) <= INFLATE_IN_MEMORY_BYTES
    );
  } finally {
    closeSync(fd);
  }
}

function sizeField(data: Uint8Array): bigint {
  return Buffer.from(data.buffer, data.byteOffset, data.byteLength).readBigUInt64BE(8);
}

function assertIs(type: PackedType, checksum: Checksum, data: Uint8Array): void {
  if (type === 'file') {
    verifyFilez(checksum, data);
    return;
  }
  const object = `${checksum}.${type}`;
  if (type === 'commitmeta') {
    decode('a{sv}', data, { object });
    return;
  }
  const actual = hash('sha256', data);
  if (actual !== checksum) throw corruptedObject(type, checksum, actual);
  if (type === 'dirtree') decodeDirTree(data, object);
  else if (type === 'dirmeta') decodeDirMeta(data, object);
  else decodeCommit(data, object);
}

/** Node makes files with the caller's umask; objects are for everybody to read. */
const MODE = 0o644;
let isMasked: boolean | undefined;

function write(path: string, data: Uint8Array): void {
  const fd = openSync(path, 'w', MODE);
  try {
    isMasked ??= (fstatSync(fd).mode & 0o777) !== MODE;
    if (isMasked) fchmodSync(fd, MODE);
    for (let at = 0; at < data.length; ) at += writeSync(fd, data, at);
  } finally {
    closeSync(fd);
  }
}
