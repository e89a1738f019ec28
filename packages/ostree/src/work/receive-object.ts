import { hash } from 'node:crypto';
import {
  closeSync,
  existsSync,
  fchmodSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import { threadId } from 'node:worker_threads';
import { decodeCommit } from '../formats/commit.ts';
import { decodeDirMeta } from '../formats/dirmeta.ts';
import { decodeDirTree } from '../formats/dirtree.ts';
import { type Checksum, corruptedObject, loosePath } from '../formats/object-name.ts';
import { decode } from '../gvariant/decode.ts';
import type { PackedType } from '../push/pack.ts';
import { verifyFilez, verifyFilezFile } from './import-object.ts';

/** Where received objects go, and where they need not go because they are there. */
export interface ReceiveTarget {
  /** The `objects` folder of an archive repository. */
  objects: string;
  /** The folder of the push. */
  folder: string;
}

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

/** Whether the repository has it. Detached metadata has no hash for a name, so that another may come under its name. */
export function isInRepository({ objects }: ReceiveTarget, type: PackedType, checksum: Checksum): boolean {
  return type !== 'commitmeta' && existsSync(join(objects, loosePath(checksum, type === 'file' ? 'filez' : type)));
}

let temporaries = 0;

/**
 * Checks an object against its name and puts it into the folder of the push. There it is whole or it is not there: the
 * process may be killed at any moment, and what it leaves counts as received.
 *
 * @returns bytes written; 0 when it was there already
 * @throws OstreeError `corrupt`
 */
export async function receiveObject(target: ReceiveTarget, object: ReceivedObject): Promise<number> {
  const { type, checksum, data } = object;
  if (isInRepository(target, type, checksum)) return 0;
  const path = join(target.folder, receivedName(type, checksum));
  if (type !== 'commitmeta' && existsSync(path)) return 0;
  const temporary = join(target.folder, `.new-${threadId}-${temporaries++}`);
  const isLarge = type === 'file' && data.length >= 16 && sizeField(data) > INFLATE_IN_MEMORY_BYTES;
  if (!isLarge) assertIs(type, checksum, data);
  try {
    write(temporary, data);
    if (isLarge) await verifyFilezFile(checksum, temporary);
    renameSync(temporary, path);
  } catch (error) {
    rmSync(temporary, { force: true });
    throw error;
  }
  return data.length;
}

/**
 * The same for one in a file, which is moved. What was refused is gone.
 *
 * @returns bytes that it takes; 0 when it was there already
 */
export async function receiveSpooled(target: ReceiveTarget, { type, checksum, path }: SpooledObject): Promise<number> {
  const place = join(target.folder, receivedName(type, checksum));
  if (isInRepository(target, type, checksum) || (type !== 'commitmeta' && existsSync(place))) {
    rmSync(path, { force: true });
    return 0;
  }
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

function write(path: string, data: Uint8Array): void {
  const fd = openSync(path, 'wx', 0o644);
  try {
    fchmodSync(fd, 0o644);
    for (let at = 0; at < data.length; ) at += writeSync(fd, data, at);
  } finally {
    closeSync(fd);
  }
}
