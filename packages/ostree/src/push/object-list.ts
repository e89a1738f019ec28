import { OstreeError } from '../errors.ts';
import type { Checksum } from '../formats/object-name.ts';
import { type PackedType, typeByte, typeOfByte } from './pack.ts';

/*
 * How the two sides of a push speak of many objects. A question is a list of 33 bytes each: type (the byte of a pack's
 * record) and checksum. The answer is one byte for each, in the same order:
 *
 *   0  the repository has it; what it needs is there as well, or finishing will say so
 *   1  this push has sent it already; what it needs may still be missing
 *   2  it is missing
 *   3  a part of it has been received
 *
 * and after these, for each 3, how many bytes there are, in 8 bytes, big-endian.
 */

/** The name of an object. */
export interface ObjectId {
  type: PackedType;
  checksum: Checksum;
}

/** Where an object stands: see the top of this file. A number is how much of it has been received. */
export type ObjectState = 'stored' | 'received' | 'missing' | number;

export const OBJECT_ID_BYTES = 33;
const [STORED, RECEIVED, MISSING, PARTIAL] = [0, 1, 2, 3];

export function encodeObjectList(objects: readonly ObjectId[]): Buffer {
  const bytes = Buffer.allocUnsafe(objects.length * OBJECT_ID_BYTES);
  for (const [index, { type, checksum }] of objects.entries()) {
    const at = index * OBJECT_ID_BYTES;
    bytes[at] = typeByte(type);
    bytes.write(checksum, at + 1, 32, 'hex');
  }
  return bytes;
}

/** @throws OstreeError `invalid` */
export function decodeObjectList(bytes: Buffer): ObjectId[] {
  if (bytes.length % OBJECT_ID_BYTES !== 0) {
    throw new OstreeError('invalid', `a list of objects of ${bytes.length} bytes, which is not a multiple of 33`);
  }
  const objects: ObjectId[] = [];
  for (let at = 0; at < bytes.length; at += OBJECT_ID_BYTES) {
    const type = typeOfByte(bytes[at]!);
    if (!type) throw new OstreeError('invalid', `a list of objects with the unknown type ${bytes[at]} at byte ${at}`);
    objects.push({ type, checksum: bytes.toString('hex', at + 1, at + OBJECT_ID_BYTES) });
  }
  return objects;
}

export function encodeObjectStates(states: readonly ObjectState[]): Buffer {
  const partial = states.filter((state) => typeof state === 'number');
  const bytes = Buffer.alloc(states.length + 8 * partial.length);
  for (const [index, state] of states.entries()) {
    bytes[index] =
      typeof state === 'number' ? PARTIAL : state === 'stored' ? STORED : state === 'received' ? RECEIVED : MISSING;
  }
  for (const [index, length] of partial.entries()) bytes.writeBigUInt64BE(BigInt(length), states.length + 8 * index);
  return bytes;
}

/**
 * @param count how many objects were asked for
 * @throws OstreeError `network`, since it is an answer
 */
export function decodeObjectStates(bytes: Buffer, count: number): ObjectState[] {
  const malformed = () => new OstreeError('network', 'the answer of what is missing is malformed');
  if (bytes.length < count) throw malformed();
  const states: ObjectState[] = [];
  let at = count;
  for (let index = 0; index < count; index++) {
    const byte = bytes[index];
    if (byte === STORED) states.push('stored');
    else if (byte === RECEIVED) states.push('received');
    else if (byte === MISSING) states.push('missing');
    else if (byte === PARTIAL && at + 8 <= bytes.length) {
      const length = Number(bytes.readBigUInt64BE(at));
      at += 8;
      if (!Number.isSafeInteger(length)) throw malformed();
      states.push(length);
    } else throw malformed();
  }
  if (at !== bytes.length) throw malformed();
  return states;
}
