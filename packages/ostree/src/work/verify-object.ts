import { createHash, hash } from 'node:crypto';
import { createReadStream, lstatSync, readFileSync } from 'node:fs';
import { OstreeError, systemCode } from '../errors.ts';
import { decodeCommit } from '../formats/commit.ts';
import { decodeDirMeta } from '../formats/dirmeta.ts';
import { decodeDirTree } from '../formats/dirtree.ts';
import { encodeFileHeader } from '../formats/file.ts';
import { type Checksum, corruptedObject, type ObjectType } from '../formats/object-name.ts';
import type { ObjectFormat } from '../repo/repo.ts';
import { readBareObject } from './bare-object.ts';
import { verifyFilez, verifyFilezFile } from './import-object.ts';
import { WHOLE_FILE_BYTES } from './store-file.ts';

export interface ObjectToVerify {
  type: ObjectType;
  checksum: Checksum;
  path: string;
}

/** What is wrong with a stored object. */
export interface Damage {
  type: ObjectType;
  checksum: Checksum;
  kind: 'missing' | 'corrupt';
  message: string;
}

/** Hashes one stored object. Null when it is what its name says. */
export async function verifyObject(format: ObjectFormat, object: ObjectToVerify): Promise<Damage | null> {
  try {
    await verify(format, object);
    return null;
  } catch (error) {
    const { type, checksum } = object;
    if (systemCode(error) === 'ENOENT') {
      return { type, checksum, kind: 'missing', message: `${checksum}.${type}: missing` };
    }
    if (error instanceof OstreeError) return { type, checksum, kind: 'corrupt', message: error.message };
    throw error;
  }
}

async function verify(format: ObjectFormat, { type, checksum, path }: ObjectToVerify): Promise<void> {
  let actual: string;
  if (type !== 'file') {
    const data = readFileSync(path);
    actual = hash('sha256', data);
    if (actual === checksum) parseMetadata(type, data, `${checksum}.${type}`);
  } else if (format.mode === 'archive') {
    const data = lstatSync(path).size > WHOLE_FILE_BYTES ? null : readFileSync(path);
    // A small file can unpack to a large one: only what says it is small is unpacked in memory.
    if (data && data.length >= 16 && data.readBigUInt64BE(8) <= BigInt(2 * WHOLE_FILE_BYTES))
      verifyFilez(checksum, data);
    else await verifyFilezFile(checksum, path);
    return;
  } else actual = await hashBare(format, path, `${checksum}.file`);
  if (actual === checksum) return;
  throw corruptedObject(type, checksum, actual);
}

/** Bytes with the right checksum may still be those of nothing that can be used. Throws `corrupt`. */
function parseMetadata(type: ObjectType, data: Buffer, object: string): void {
  if (type === 'dirtree') decodeDirTree(data, object);
  else if (type === 'dirmeta') decodeDirMeta(data, object);
  else if (type === 'commit') decodeCommit(data, object);
}

async function hashBare(format: ObjectFormat, path: string, object: string): Promise<Checksum> {
  const { header, size } = readBareObject(format, path, object);
  const sha = createHash('sha256').update(encodeFileHeader(header));
  if (size > WHOLE_FILE_BYTES) {
    for await (const chunk of createReadStream(path, { highWaterMark: 1 << 20 })) sha.update(chunk as Buffer);
  } else if (size > 0) sha.update(readFileSync(path));
  return sha.digest('hex');
}
