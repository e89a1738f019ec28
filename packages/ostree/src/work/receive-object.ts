import { hash } from 'node:crypto';
import {
  closeSync,
  fchmodSync,
  fstatSync,
  mkdirSync,
  openSync,
  readFileSync,
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

/** An object as it was received, in the form that an archive repository keeps it in. */
export interface ReceivedObject {
  type: PackedType;
  checksum: Checksum;
  data: Uint8Array;
}

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
 * @throws OstreeError `corrupt`
 */
export async function receiveObjects(
  { folder: parent, batch }: { folder: string; batch: string },
  objects: readonly ReceivedObject[],
): Promise<null> {
  const folder = join(parent, `.${batch}`);
  const [first] = objects;
  if (first && objects.length === 1) {
    await receiveObject(folder, first);
    renameSync(folder, join(parent, receivedName(first.type, first.checksum)));
    return null;
  }
  mkdirSync(folder);
  try {
    for (const object of objects)
      await receiveObject(`${folder}/${receivedName(object.type, object.checksum)}`, object);
  } finally {
    renameSync(folder, join(parent, batch));
  }
  return null;
}

async function receiveObject(path: string, { type, checksum, data }: ReceivedObject): Promise<void> {
  const isLarge = type === 'file' && data.length >= 16 && sizeField(data) > INFLATE_IN_MEMORY_BYTES;
  if (!isLarge) assertIs(type, checksum, data);
  try {
    write(path, data);
    if (isLarge) await verifyFilezFile(checksum, path);
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
    if (type === 'file') await verifyFilezFile(checksum, path);
    else assertIs(type, checksum, readFileSync(path));
  } catch (error) {
    rmSync(path, { force: true });
    throw error;
  }
  const { size } = statSync(path);
  renameSync(path, place);
  return size;
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
