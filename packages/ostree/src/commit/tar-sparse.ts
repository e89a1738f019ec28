import { type ByteReader, invalidArchive } from './byte-reader.ts';

/** Where the stored pieces of a sparse file go. What lies between them is zeros. */
export interface SparseMap {
  /** Bytes that the file has. */
  size: number;
  pieces: readonly (readonly [offset: number, length: number])[];
  /** The file's path, where the header has another. */
  name?: string;
}

/** A map with more pieces than this is no sparse file but an attack. */
const MAX_PIECES = 1_000_000;

/** Pieces of pax format 0.0 come as a record each for offset and length; as one list they are those of 0.1. */
export function collectSparse(records: Map<string, Buffer>, key: string, value: Buffer): boolean {
  if (key !== 'GNU.sparse.offset' && key !== 'GNU.sparse.numbytes') return false;
  const before = records.get('GNU.sparse.map');
  records.set('GNU.sparse.map', before ? Buffer.concat([before, Buffer.from(','), value]) : value);
  return true;
}

/**
 * The map of a file of a pax archive; null for one that is not sparse.
 *
 * @param block reads the next block of the file's content
 */
export async function sparseMap(
  extended: ReadonlyMap<string, Buffer>,
  block: () => Promise<Buffer>,
  offset: number,
): Promise<SparseMap | null> {
  const text = (key: string) => extended.get(`GNU.sparse.${key}`)?.toString('utf8');
  const size = text('realsize') ?? text('size');
  if (size === undefined) return null;
  const name = text('name');
  const list = text('map');
  const numbers =
    text('major') === '1'
      ? await storedNumbers(block, offset)
      : list
        ? list.split(',').map((one) => decimal(one, offset))
        : [];
  return checked({ size: decimal(size, offset), pieces: pairs(numbers), ...(name ? { name } : {}) }, offset);
}

/** Format 1.0: decimal numbers, each with a newline, the first one how many pairs there are. */
async function storedNumbers(block: () => Promise<Buffer>, offset: number): Promise<number[]> {
  const numbers: number[] = [];
  let digits = '';
  let wanted = 1;
  while (numbers.length < wanted) {
    const data = await block();
    for (const byte of data) {
      if (byte !== 0x0a) {
        digits += String.fromCharCode(byte);
        if (digits.length > 20) throw invalidArchive('a malformed map of a sparse file', offset);
        continue;
      }
      numbers.push(decimal(digits, offset));
      digits = '';
      if (numbers.length === 1) wanted = 1 + 2 * numbers[0]!;
      if (wanted > 2 * MAX_PIECES) throw invalidArchive('an absurd map of a sparse file', offset);
      if (numbers.length === wanted) break;
    }
  }
  return numbers.slice(1);
}

/** The oldest form: four pieces in the header, more in the blocks after it (GNU tar's `struct sparse`). */
export async function oldGnuMap(bytes: ByteReader, header: Buffer, offset: number): Promise<SparseMap> {
  const numbers: number[] = [];
  const take = (block: Buffer, at: number, count: number) => {
    for (let index = 0; index < count; index++) {
      if (block[at + index * 24] === 0) return;
      numbers.push(octal(block, at + index * 24, offset), octal(block, at + index * 24 + 12, offset));
    }
  };
  take(header, 386, 4);
  for (let more = header[482] !== 0; more; ) {
    const block = (await bytes.exactly(512))!;
    take(block, 0, 21);
    more = block[504] !== 0;
    if (numbers.length > 2 * MAX_PIECES) throw invalidArchive('an absurd map of a sparse file', offset);
  }
  return checked({ size: octal(header, 483, offset), pieces: pairs(numbers) }, offset);
}

function pairs(numbers: readonly number[]): [number, number][] {
  const result: [number, number][] = [];
  for (let index = 0; index + 1 < numbers.length; index += 2) result.push([numbers[index]!, numbers[index + 1]!]);
  return result;
}

function checked(map: SparseMap, offset: number): SparseMap {
  let end = 0;
  for (const [start, length] of map.pieces) {
    if (start < end || start + length > map.size) throw invalidArchive('a sparse file whose map is wrong', offset);
    end = start + length;
  }
  return map;
}

/** The whole content of a sparse file from its stored pieces. */
export async function* expand(map: SparseMap, stored: AsyncGenerator<Buffer>, offset: number): AsyncGenerator<Buffer> {
  let at = 0;
  let chunk: Buffer = Buffer.alloc(0);
  for (const [start, length] of map.pieces) {
    yield* zeros(start - at);
    for (let left = length; left > 0; ) {
      if (chunk.length === 0) {
        const { done, value } = await stored.next();
        if (done) throw invalidArchive('a sparse file that is shorter than its map says', offset);
        chunk = value;
      }
      const piece = chunk.subarray(0, left);
      chunk = chunk.subarray(piece.length);
      left -= piece.length;
      yield piece;
    }
    at = start + length;
  }
  yield* zeros(map.size - at);
}

function* zeros(count: number): Generator<Buffer> {
  for (let left = count; left > 0; left -= ZEROS.length) yield ZEROS.subarray(0, Math.min(left, ZEROS.length));
}

const ZEROS = Buffer.alloc(256 * 1024);

function decimal(text: string, offset: number): number {
  const value = /^\d{1,16}$/.test(text) ? Number(text) : Number.NaN;
  if (!Number.isSafeInteger(value)) throw invalidArchive('a malformed map of a sparse file', offset);
  return value;
}

function octal(block: Buffer, at: number, offset: number): number {
  if (block[at]! & 0x80) {
    const value = block.readBigUInt64BE(at + 4);
    if (value <= BigInt(Number.MAX_SAFE_INTEGER)) return Number(value);
    throw invalidArchive('an absurd number', offset);
  }
  const digits = block
    .toString('latin1', at, at + 12)
    .replace(/[\0 ]+$/, '')
    .trimStart();
  if (!/^[0-7]{1,12}$/.test(digits)) throw invalidArchive('a malformed map of a sparse file', offset);
  return Number.parseInt(digits, 8);
}
