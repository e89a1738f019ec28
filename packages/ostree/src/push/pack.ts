import { OstreeError } from '../errors.ts';
import type { Checksum } from '../formats/object-name.ts';
import { MAX_METADATA_BYTES } from '../repo/objects.ts';

/*
 * A pack is a stream of objects, as one side of a push sends it to the other. All integers are big-endian.
 *
 *   pack     magic record* end
 *   magic    the 8 bytes "ostpack1"
 *   record   type      1 byte    1 commit, 2 dirtree, 3 dirmeta, 4 file, 5 commitmeta
 *            checksum  32 bytes  of the object; of a commitmeta, the checksum of its commit
 *            total     8 bytes   length of the whole object, or 2^64-1: not known yet
 *            offset    8 bytes   where in the object these bytes begin
 *            length    8 bytes   how many bytes follow, at least 1
 *            bytes     `length` bytes
 *   end      a byte 0, and the number of records in 8 bytes; nothing follows
 *
 * Metadata objects are as they are stored, files as filez. An object that is sent in one piece has offset 0 and length
 * = total. A longer one may come in any number of records, each of which begins where the one before has ended, in one
 * pack or, after an interruption, in several; only its last record has to know the total. A pack says nothing of what
 * the objects are for, and nothing in it is to be believed before it is hashed.
 */

export type PackedType = 'commit' | 'dirtree' | 'dirmeta' | 'file' | 'commitmeta';

/** What a record says of the bytes that follow it. */
export interface PackRecord {
  type: PackedType;
  checksum: Checksum;
  /** Bytes of the whole object; null = not known yet. */
  total: number | null;
  /** Where in the object the bytes of this record begin. */
  offset: number;
  /** Bytes in this record. */
  length: number;
}

/** A record with its bytes. */
export interface PackPiece extends Omit<PackRecord, 'length'> {
  data: Uint8Array;
}

const MAGIC = Buffer.from('ostpack1', 'latin1');
const RECORD_BYTES = 57;
const END_BYTES = 9;
const TYPES: readonly (PackedType | null)[] = [null, 'commit', 'dirtree', 'dirmeta', 'file', 'commitmeta'];
const UNKNOWN = 0xffffffffffffffffn;

/** The byte that stands for a type, here and in lists of objects. */
export function typeByte(type: PackedType): number {
  return TYPES.indexOf(type);
}

/** The type that a byte stands for; null for one that stands for none. */
export function typeOfByte(byte: number): PackedType | null {
  return TYPES[byte] ?? null;
}

/** The bytes of a record before its data. */
function encodeRecord({ type, checksum, total, offset, length }: PackRecord): Buffer {
  const bytes = Buffer.allocUnsafe(RECORD_BYTES);
  bytes[0] = typeByte(type);
  bytes.write(checksum, 1, 32, 'hex');
  bytes.writeBigUInt64BE(total === null ? UNKNOWN : BigInt(total), 33);
  bytes.writeBigUInt64BE(BigInt(offset), 41);
  bytes.writeBigUInt64BE(BigInt(length), 49);
  return bytes;
}

/** What is sent at a time: small records go together. */
const CHUNK_BYTES = 256 * 1024;

/** A pack of what `pieces` gives, in chunks of moderate size; what it has taken and not given out is not more. */
export async function* encodePack(
  pieces: AsyncIterable<PackPiece> | Iterable<PackPiece>,
): AsyncGenerator<Buffer, void, undefined> {
  let parts: Uint8Array[] = [MAGIC];
  let held = MAGIC.length;
  let count = 0;
  for await (const { data, ...record } of pieces) {
    parts.push(encodeRecord({ ...record, length: data.length }), data);
    held += RECORD_BYTES + data.length;
    count++;
    if (held < CHUNK_BYTES) continue;
    yield Buffer.concat(parts, held);
    parts = [];
    held = 0;
  }
  const end = Buffer.alloc(END_BYTES);
  end.writeBigUInt64BE(BigInt(count), 1);
  yield Buffer.concat([...parts, end], held + END_BYTES);
}

/** What a pack turns out to hold, in its order. What these throw goes through to whoever pushed the bytes. */
export interface PackEvents {
  begin(record: PackRecord): void;
  /** The next bytes of the record. @param piece a view of what was pushed */
  bytes(piece: Buffer): void;
  /** The bytes of the record are all there. */
  end(): void;
}

/**
 * Reads a pack as it arrives. It holds no more than a record's 57 bytes; where the data goes is the business of whom it
 * tells.
 */
export class PackDecoder {
  readonly #events: PackEvents;
  readonly #head = Buffer.alloc(RECORD_BYTES);
  #held = 0;
  #state: 'magic' | 'record' | 'data' | 'end' | 'ended' = 'magic';
  #left = 0;
  #count = 0;
  #at = 0;

  constructor(events: PackEvents) {
    this.#events = events;
  }

  /** Whether the end has been read. */
  get ended(): boolean {
    return this.#state === 'ended';
  }

  /** @throws OstreeError `corrupt` with the offset in the pack; what the events throw */
  push(chunk: Buffer): void {
    let at = 0;
    while (at < chunk.length) {
      if (this.#state === 'data') {
        const length = Math.min(this.#left, chunk.length - at);
        this.#events.bytes(chunk.subarray(at, at + length));
        at += length;
        this.#at += length;
        this.#left -= length;
        if (this.#left > 0) continue;
        this.#state = 'record';
        this.#events.end();
        continue;
      }
      if (this.#state === 'ended') throw this.#malformed('something follows the end');
      // One byte tells a record from the end.
      if (this.#state === 'record' && this.#held === 0 && chunk[at] === 0) this.#state = 'end';
      const wanted = this.#state === 'magic' ? MAGIC.length : this.#state === 'end' ? END_BYTES : RECORD_BYTES;
      const length = Math.min(wanted - this.#held, chunk.length - at);
      chunk.copy(this.#head, this.#held, at, at + length);
      this.#held += length;
      at += length;
      this.#at += length;
      if (this.#held < wanted) continue;
      this.#held = 0;
      this.#take(wanted);
    }
  }

  /** Call it when nothing more comes. Throws `corrupt` when the pack was cut short. */
  finish(): void {
    if (!this.ended) throw this.#malformed('the pack is cut short');
  }

  #take(length: number): void {
    const start = this.#at - length;
    if (this.#state === 'magic') {
      if (!this.#head.subarray(0, MAGIC.length).equals(MAGIC)) throw this.#malformed('this is no pack', start);
      this.#state = 'record';
    } else if (this.#state === 'end') {
      if (this.#head.readBigUInt64BE(1) !== BigInt(this.#count)) {
        throw this.#malformed(`its end does not say the ${this.#count} records that there were`, start);
      }
      this.#state = 'ended';
    } else {
      const record = this.#record(start);
      this.#count++;
      this.#left = record.length;
      this.#state = 'data';
      this.#events.begin(record);
    }
  }

  #record(start: number): PackRecord {
    const head = this.#head;
    const type = typeOfByte(head[0]!);
    if (!type) throw this.#malformed(`a record of the unknown type ${head[0]}`, start);
    const total = head.readBigUInt64BE(33);
    const [offset, length] = [head.readBigUInt64BE(41), head.readBigUInt64BE(49)];
    const isKnown = total !== UNKNOWN;
    const most = type === 'file' ? BigInt(Number.MAX_SAFE_INTEGER) : BigInt(MAX_METADATA_BYTES);
    if (isKnown && total > most) throw this.#malformed(`a ${type} of ${total} bytes`, start + 33);
    if (length === 0n) throw this.#malformed('a record without bytes', start + 49);
    if (offset + length > (isKnown ? total : most)) {
      throw this.#malformed(`a record of ${length} bytes at ${offset}, beyond the end of its object`, start + 41);
    }
    return {
      type,
      checksum: head.toString('hex', 1, 33),
      total: isKnown ? Number(total) : null,
      offset: Number(offset),
      length: Number(length),
    };
  }

  #malformed(what: string, offset = this.#at): OstreeError {
    return new OstreeError('corrupt', `the pack is malformed: ${what} (byte ${offset})`, { offset });
  }
}
