import type { Checksum } from '../formats/object-name.ts';
import { type PackedType, typeByte, typeOfByte } from '../push/pack.ts';

/** An object of a batch; its data is a view of the memory of the batch. */
export interface BatchedObject {
  type: PackedType;
  checksum: Checksum;
  data: Uint8Array;
}

/*
 * Objects go to a worker in one piece of memory, since every JavaScript object on the way would be made twice. For each:
 * its type (1 byte, as in a pack; 0 ends the batch), checksum (32), length of its data (4, big-endian), data.
 */
const HEAD_BYTES = 37;
const END_BYTES = 1;
/** The memory of a batch of small objects. */
const BATCH_BYTES = 1024 * 1024;
/** So much memory is kept to be filled again: as garbage it would make the collector look through everything. */
const MAX_KEPT = 32;

const kept: ArrayBuffer[] = [];

/** Takes back the memory of a batch that nobody needs any more. */
export function keepMemory(memory: ArrayBuffer): void {
  if (memory.byteLength === BATCH_BYTES && kept.length < MAX_KEPT) kept.push(memory);
}

/** Objects that are put together for a worker, which reads them with `batchedObjects`. */
export class ObjectBatch {
  readonly memory: ArrayBuffer;
  readonly #bytes: Buffer;
  /** Where the last object begins, where its next bytes go, and where it ends. */
  #start = 0;
  #at = 0;
  #end = 0;
  #count = 0;
  #dataBytes = 0;

  /** @param bytes of data of the first object: a larger one makes a larger batch */
  constructor(bytes: number) {
    const needed = HEAD_BYTES + bytes + END_BYTES;
    this.memory = (needed <= BATCH_BYTES && kept.pop()) || new ArrayBuffer(Math.max(BATCH_BYTES, needed));
    this.#bytes = Buffer.from(this.memory);
    this.#bytes[0] = 0;
  }

  /** How many objects there are. */
  get count(): number {
    return this.#count;
  }

  /** Bytes of their data. */
  get bytes(): number {
    return this.#dataBytes;
  }

  /** Whether one more with so many bytes of data has room. */
  hasRoom(bytes: number): boolean {
    return this.#end + HEAD_BYTES + bytes + END_BYTES <= this.#bytes.length;
  }

  /** Begins an object; `add` gives its data. */
  begin(type: PackedType, checksum: Checksum, bytes: number): void {
    const start = this.#end;
    this.#bytes[start] = typeByte(type);
    this.#bytes.write(checksum, start + 1, 32, 'hex');
    this.#bytes.writeUInt32BE(bytes, start + 33);
    this.#start = start;
    this.#at = start + HEAD_BYTES;
    this.#end = this.#at + bytes;
    this.#bytes[this.#end] = 0;
    this.#count++;
    this.#dataBytes += bytes;
  }

  /** The next bytes of the object that was begun. */
  add(piece: Uint8Array): void {
    this.#bytes.set(piece, this.#at);
    this.#at += piece.length;
  }

  /** Takes back the object that was begun. */
  dropLast(): void {
    this.#dataBytes -= this.#end - this.#start - HEAD_BYTES;
    this.#end = this.#start;
    this.#bytes[this.#end] = 0;
    this.#count--;
  }
}

/** The objects in the memory of a batch. */
export function batchedObjects(memory: ArrayBuffer): BatchedObject[] {
  const bytes = Buffer.from(memory);
  const objects: BatchedObject[] = [];
  for (let at = 0, type = typeOfByte(bytes[at]!); type; type = typeOfByte(bytes[at]!)) {
    const start = at + HEAD_BYTES;
    const checksum = bytes.toString('hex', at + 1, at + 33);
    at = start + bytes.readUInt32BE(at + 33);
    objects.push({ type, checksum, data: bytes.subarray(start, at) });
  }
  return objects;
}
