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

/** Up to here an object is held in memory until it is whole; a longer one goes into a file, which outlives interruptions. */
export const SMALL_BYTES = 4 * 1024 * 1024;

/** What a record of a pack can hold. */
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

/** The byte that stands for a type, here and in lists of objects. */
export function typeByte(type: PackedType): number {
  return TYPES.indexOf(type);
}

/** The type that a byte stands for; null for one that stands for none. */
export function typeOfByte(byte: number): PackedType | null {
  return TYPES[byte] ?? null;
}

/** What is sent at a time: small records go together. */
const CHUNK_BYTES = 256 * 1024;

/**
 * A pack of what `pieces` gives, in chunks of moderate size; what it has taken and not given out is not more. The data
 * of a piece is copied before the next one is asked for.
 *
 * @param pieces come in groups, since a turn of the event loop for each would take longer than the piece itself
 */
export async function* encodePack(
  pieces: AsyncIterable<Iterable<PackPiece>> | Iterable<Iterable<PackPiece>>,
): AsyncGenerator<Buffer, void, undefined> {
  let chunk = Buffer.allocUnsafeSlow(CHUNK_BYTES);
  let used = MAGIC.copy(chunk);
  let count = 0;
  for await (const group of pieces) {
    for (const piece of group) {
      const length = RECORD_BYTES + piece.data.length;
      if (used + length > chunk.length && used > 0) {
        yield chunk.subarray(0, used);
        chunk = Buffer.allocUnsafeSlow(Math.max(CHUNK_BYTES, length));
        used = 0;
      }
      writeRecord(chunk, used, piece);
      chunk.set(piece.data, used + RECORD_BYTES);
      used += length;
      count++;
    }
  }
  const end = Buffer.alloc(END_BYTES);
  writeNumber(end, 1, count);
  yield Buffer.concat([chunk.subarray(0, used), end]);
}

/** The bytes of a record before its data. */
function writeRecord(chunk: Buffer, at: number, { type, checksum, total, offset, data }: PackPiece): void {
  chunk[at] = typeByte(type);
  chunk.write(checksum, at + 1, 32, 'hex');
  if (total === null) chunk.fill(0xff, at + 33, at + 41);
  else writeNumber(chunk, at + 33, total);
  writeNumber(chunk, at + 41, offset);
  writeNumber(chunk, at + 49, data.length);
}

/** Eight bytes; without a BigInt, of which each record would need three. */
function writeNumber(bytes: Buffer, at: number, value: number): void {
  bytes.writeUInt32BE(Math.floor(value / 2 ** 32), at);
  bytes.writeUInt32BE(value % 2 ** 32, at + 4);
}

/** Not a safe integer: more than there can be of anything. */
function readNumber(bytes: Buffer, at: number): number {
  return bytes.readUInt32BE(at) * 2 ** 32 + bytes.readUInt32BE(at + 4);
}

/** What a pack turns out to hold, in its order. What these throw goes through to whoever pushed the bytes. */
export interface PackEvents {
  /** A record begins. */
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

  /** Begins with nothing. @param events what is told of what is read, in its order */
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
      if (readNumber(this.#head, 1) !== this.#count) {
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
    const isKnown = head.readUInt32BE(33) !== 0xffffffff || head.readUInt32BE(37) !== 0xffffffff;
    const [total, offset, length] = [readNumber(head, 33), readNumber(head, 41), readNumber(head, 49)];
    const most = type === 'file' ? Number.MAX_SAFE_INTEGER : MAX_METADATA_BYTES;
    if (isKnown && total > most) throw this.#malformed(`a ${type} of ${total} bytes`, start + 33);
    if (length === 0) throw this.#malformed('a record without bytes', start + 49);
    // Sums of what is not safe are greater than what is.
    if (offset > most || length > most || offset + length > (isKnown ? total : most)) {
      throw this.#malformed(`a record of ${length} bytes at ${offset}, beyond the end of its object`, start + 41);
    }
    return { type, checksum: head.toString('hex', 1, 33), total: isKnown ? total : null, offset, length };
  }

  #malformed(what: string, offset = this.#at): OstreeError {
    return new OstreeError('corrupt', `the pack is malformed: ${what} (byte ${offset})`, { offset });
  }
}
