import { OstreeError } from '../errors.ts';
import type { Xattr } from '../fs/syscalls.ts';

/** What a tar archive says about one path (POSIX ustar, pax and GNU forms). */
export interface TarEntry {
  kind: 'file' | 'folder' | 'symlink' | 'link' | 'device';
  /** As stored: it may start with `./` or `/`, or end with a slash. */
  path: string;
  /** Target of a symlink; path of the file that a hard link is another name of. */
  target: string;
  /** Permission bits, with setuid, setgid and sticky. */
  mode: number;
  uid: number;
  gid: number;
  /** Bytes of content. */
  size: number;
  xattrs: Xattr[];
  /** Where the entry starts in the (uncompressed) archive. */
  offset: number;
}

const BLOCK = 512;
/** Long names and extended headers come from the archive's author: 64 KiB of attributes are all that Linux takes. */
const MAX_EXTENDED_BYTES = 1024 * 1024;

const KINDS: Record<string, TarEntry['kind']> = {
  '\0': 'file',
  '0': 'file',
  '7': 'file',
  '1': 'link',
  '2': 'symlink',
  '3': 'device',
  '4': 'device',
  '5': 'folder',
  '6': 'device',
};

/** Reads a tar archive from a stream, in order, holding no more than one entry's header. */
export class TarReader {
  readonly #bytes: ByteReader;
  /** What is left of the present entry's content, and of the padding after it. */
  #rest = 0;
  #padding = 0;
  #global = new Map<string, Buffer>();

  constructor(stream: AsyncIterable<Uint8Array>) {
    this.#bytes = new ByteReader(stream);
  }

  /**
   * The next entry, or null at the end. What was not read of the one before is passed over.
   *
   * @throws OstreeError `invalid` with the offset of what is no tar archive, `unsupported` for sparse files
   */
  async next(): Promise<TarEntry | null> {
    let extended = this.#global;
    let longPath: Buffer | undefined;
    let longTarget: Buffer | undefined;
    for (;;) {
      await this.#bytes.skip(this.#rest + this.#padding);
      this.#rest = 0;
      this.#padding = 0;
      const offset = this.#bytes.offset;
      const block = await this.#bytes.exactly(BLOCK, true);
      if (!block || isZero(block)) {
        await this.#bytes.drain();
        return null;
      }
      assertHeader(block, offset);
      const flag = String.fromCharCode(block[156]!);
      let size = number(block, 124, 12, offset);
      if (flag === 'x' || flag === 'g' || flag === 'L' || flag === 'K') {
        if (size > MAX_EXTENDED_BYTES) throw invalid(`an extended header of ${size} bytes`, offset);
        const data = (await this.#bytes.exactly(size))!;
        await this.#bytes.skip(paddingOf(size));
        if (flag === 'x') extended = new Map([...this.#global, ...parsePax(data, offset)]);
        else if (flag === 'g') this.#global = new Map([...this.#global, ...parsePax(data, offset)]);
        else if (flag === 'L') longPath = cString(data);
        else longTarget = cString(data);
        if (flag === 'g') extended = this.#global;
        continue;
      }
      const declared = extended.get('size');
      if (declared) size = decimal(declared, 'size', offset);
      const fields = fieldsOf(block, offset, extended, longPath, longTarget);
      let kind = KINDS[flag];
      if (kind === 'file' && fields.path.endsWith('/')) kind = 'folder'; // before ustar there was no other way
      if (flag === 'S' || [...extended.keys()].some((key) => key.startsWith('GNU.sparse.'))) {
        throw new OstreeError('unsupported', `tar: ${fields.path} is stored as a sparse file`, {
          offset,
          hint: 'Make the archive without --sparse.',
        });
      }
      // Only files have content; a hard link's size is that of the file, unless a pax archive repeats the content.
      const hasContent =
        kind === 'file' || kind === undefined || (kind === 'link' && extended.size > this.#global.size);
      if (!hasContent) size = 0;
      this.#rest = size;
      this.#padding = paddingOf(size);
      if (kind === undefined) {
        // Volume labels and other notes of one program to itself: passed over, with what is said about them.
        extended = this.#global;
        longPath = undefined;
        longTarget = undefined;
        continue;
      }
      return { ...fields, kind, size: kind === 'file' ? size : 0, offset };
    }
  }

  /** The content of the present entry as one piece. For small ones. */
  async content(): Promise<Buffer> {
    const data = (await this.#bytes.exactly(this.#rest))!;
    this.#rest = 0;
    return data;
  }

  /** The content of the present entry, piece by piece. */
  async *stream(): AsyncGenerator<Buffer> {
    while (this.#rest > 0) {
      const chunk = await this.#bytes.some(this.#rest);
      this.#rest -= chunk.length;
      yield chunk;
    }
  }
}

function invalid(what: string, offset: number): OstreeError {
  return new OstreeError('invalid', `tar: ${what} at byte ${offset}`, { offset });
}

function isZero(block: Buffer): boolean {
  return block[0] === 0 && block.every((byte) => byte === 0);
}

function assertHeader(block: Buffer, offset: number): void {
  let sum = 8 * 32; // the checksum's own field counts as spaces
  for (let index = 0; index < BLOCK; index++) if (index < 148 || index >= 156) sum += block[index]!;
  if (sum !== number(block, 148, 8, offset)) throw invalid('a header whose checksum is wrong', offset);
}

function fieldsOf(
  block: Buffer,
  offset: number,
  extended: ReadonlyMap<string, Buffer>,
  longPath: Buffer | undefined,
  longTarget: Buffer | undefined,
): Omit<TarEntry, 'kind' | 'size' | 'offset'> {
  const isUstar = block.toString('latin1', 257, 263) === 'ustar\0';
  const prefix = isUstar ? cString(block.subarray(345, 500)) : Buffer.alloc(0);
  const short = cString(block.subarray(0, 100));
  const stored = prefix.length > 0 ? Buffer.concat([prefix, Buffer.from('/'), short]) : short;
  const uid = extended.get('uid');
  const gid = extended.get('gid');
  return {
    path: text(extended.get('path') ?? longPath ?? stored, offset),
    target: text(extended.get('linkpath') ?? longTarget ?? cString(block.subarray(157, 257)), offset),
    mode: number(block, 100, 8, offset) & 0o7777,
    uid: uid ? decimal(uid, 'uid', offset) : number(block, 108, 8, offset),
    gid: gid ? decimal(gid, 'gid', offset) : number(block, 116, 8, offset),
    xattrs: xattrsOf(extended),
  };
}

/** GNU tar, libarchive and star all write `SCHILY.xattr.<name>`, with the value as it is. */
const XATTR = 'SCHILY.xattr.';

function xattrsOf(extended: ReadonlyMap<string, Buffer>): Xattr[] {
  const found: Xattr[] = [];
  for (const [key, value] of extended) {
    if (key.startsWith(XATTR)) found.push([Buffer.from(key.slice(XATTR.length)), value]);
  }
  return found.sort((a, b) => Buffer.compare(a[0], b[0]));
}

/** Records of `<length> <key>=<value>\n`, where the length counts itself. Values are bytes. */
function parsePax(data: Buffer, offset: number): Map<string, Buffer> {
  const records = new Map<string, Buffer>();
  for (let at = 0; at < data.length; ) {
    const space = data.indexOf(0x20, at);
    const length = space < 0 ? Number.NaN : Number(data.toString('latin1', at, space));
    const end = at + length;
    const equals = data.indexOf(0x3d, space);
    if (
      !Number.isSafeInteger(length) ||
      end > data.length ||
      equals < 0 ||
      equals >= end - 1 ||
      data[end - 1] !== 0x0a
    ) {
      throw invalid('a malformed extended header', offset);
    }
    records.set(data.toString('utf8', space + 1, equals), data.subarray(equals + 1, end - 1));
    at = end;
  }
  return records;
}

function cString(bytes: Buffer): Buffer {
  const nul = bytes.indexOf(0);
  return nul < 0 ? bytes : bytes.subarray(0, nul);
}

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

function text(bytes: Buffer, offset: number): string {
  if (bytes.includes(0)) throw invalid('a name with a NUL', offset);
  try {
    return utf8.decode(bytes);
  } catch (cause) {
    throw new OstreeError('unsupported', `tar: a name that is not UTF-8 at byte ${offset}`, { offset, cause });
  }
}

/** Octal digits, or a big-endian number after a byte with its highest bit set (GNU). */
function number(block: Buffer, at: number, length: number, offset: number): number {
  if (block[at]! & 0x80) {
    let value = BigInt(block[at]! & 0x7f);
    for (let index = at + 1; index < at + length; index++) value = (value << 8n) | BigInt(block[index]!);
    if (value > BigInt(Number.MAX_SAFE_INTEGER)) throw invalid('an absurd number', offset);
    return Number(value);
  }
  const digits = block
    .toString('latin1', at, at + length)
    .replace(/[\0 ]+$/, '')
    .trimStart();
  if (!/^[0-7]*$/.test(digits)) throw invalid('a number that is not octal', offset);
  return digits === '' ? 0 : Number.parseInt(digits, 8);
}

function decimal(bytes: Buffer, key: string, offset: number): number {
  const value = Number(bytes.toString('latin1'));
  if (!Number.isSafeInteger(value) || value < 0) throw invalid(`an extended header with an absurd ${key}`, offset);
  return value;
}

function paddingOf(size: number): number {
  return (BLOCK - (size % BLOCK)) % BLOCK;
}

/** Takes exact numbers of bytes from a stream of chunks. */
class ByteReader {
  offset = 0;
  readonly #chunks: AsyncIterator<Uint8Array>;
  #chunk: Buffer = Buffer.alloc(0);

  constructor(stream: AsyncIterable<Uint8Array>) {
    this.#chunks = stream[Symbol.asyncIterator]();
  }

  async #fill(): Promise<boolean> {
    while (this.#chunk.length === 0) {
      const { done, value } = await this.#chunks.next();
      if (done) return false;
      this.#chunk = Buffer.from(value.buffer, value.byteOffset, value.byteLength);
    }
    return true;
  }

  #take(length: number): Buffer {
    const taken = this.#chunk.subarray(0, length);
    this.#chunk = this.#chunk.subarray(length);
    this.offset += taken.length;
    return taken;
  }

  /** At least one and at most `limit` bytes. */
  async some(limit: number): Promise<Buffer> {
    if (!(await this.#fill())) throw invalid('the archive ends too early', this.offset);
    return this.#take(limit);
  }

  /** So many bytes; null at the end of the stream where that is expected. */
  async exactly(length: number, orEnd = false): Promise<Buffer | null> {
    if (this.#chunk.length >= length) return this.#take(length);
    if (orEnd && !(await this.#fill())) return null;
    const data = Buffer.allocUnsafe(length);
    for (let at = 0; at < length; ) at += (await this.some(length - at)).copy(data, at);
    return data;
  }

  async skip(length: number): Promise<void> {
    for (let left = length; left > 0; ) left -= (await this.some(left)).length;
  }

  /** Reads to the end, so that whoever writes into a pipe is not cut off, and a compressed stream is checked whole. */
  async drain(): Promise<void> {
    while (await this.#fill()) this.#take(this.#chunk.length);
  }
}
