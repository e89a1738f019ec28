import { OstreeError } from '../errors.ts';
import type { Xattr } from '../fs/syscalls.ts';
import { ByteReader, invalidArchive as invalid } from './byte-reader.ts';
import { collectSparse, expand, oldGnuMap, type SparseMap, sparseMap } from './tar-sparse.ts';

/** Reads an archive from a stream, in order, holding no more than one entry's header. */
export interface ArchiveReader {
  /** The next entry, or null at the end. What was not read of the one before is passed over. */
  next(): Promise<TarEntry | null>;
  /** The content of the present entry as one piece. For small ones. */
  content(): Promise<Buffer>;
  /** The content of the present entry, piece by piece. */
  stream(): AsyncGenerator<Buffer>;
}

/** What an archive says about one path (tar: POSIX ustar, pax and GNU forms; cpio). */
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
  /** Bytes of content. A hard link may have some, too: then it is that of all the file's names. */
  size: number;
  xattrs: Xattr[];
  /** Where the entry starts in the (uncompressed) archive. */
  offset: number;
  /** Where its stored content starts. */
  contentOffset: number;
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

/** Reads a tar archive. */
export class TarReader implements ArchiveReader {
  readonly #bytes: ByteReader;
  /** What is left of the present entry's content, and of the padding after it. */
  #rest = 0;
  #padding = 0;
  #sparse: SparseMap | null = null;
  #global = new Map<string, Buffer>();

  constructor(stream: AsyncIterable<Uint8Array>) {
    this.#bytes = new ByteReader(stream);
  }

  /**
   * The next entry, or null at the end. What was not read of the one before is passed over.
   *
   * @throws OstreeError `invalid` with the offset of what is no tar archive
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
      let kind = flag === 'S' ? 'file' : KINDS[flag];
      if (kind === 'file' && fields.path.endsWith('/')) kind = 'folder'; // before ustar there was no other way
      // Only files have content; a hard link's size is that of the file, unless a pax archive repeats the content.
      const hasContent =
        kind === 'file' || kind === undefined || (kind === 'link' && extended.size > this.#global.size);
      if (!hasContent) size = 0;
      this.#rest = size;
      this.#padding = paddingOf(size);
      this.#sparse =
        flag === 'S'
          ? await oldGnuMap(this.#bytes, block, offset)
          : kind === 'file'
            ? await this.#paxSparse(extended, offset)
            : null;
      if (kind === undefined) {
        // Volume labels and other notes of one program to itself: passed over, with what is said about them.
        extended = this.#global;
        longPath = undefined;
        longTarget = undefined;
        continue;
      }
      const path = this.#sparse?.name ?? fields.path;
      return {
        ...fields,
        path,
        kind,
        size: kind === 'file' ? (this.#sparse?.size ?? size) : 0,
        offset,
        contentOffset: this.#bytes.offset,
      };
    }
  }

  /** A sparse file of a pax archive; format 1.0 has its map before its content. */
  async #paxSparse(extended: ReadonlyMap<string, Buffer>, offset: number): Promise<SparseMap | null> {
    const read = async () => {
      if (this.#rest < BLOCK) throw invalid('a sparse file without its map', offset);
      this.#rest -= BLOCK;
      return (await this.#bytes.exactly(BLOCK))!;
    };
    return sparseMap(extended, read, offset);
  }

  async content(): Promise<Buffer> {
    if (this.#sparse) {
      const chunks: Buffer[] = [];
      for await (const chunk of this.stream()) chunks.push(chunk);
      return Buffer.concat(chunks);
    }
    const data = (await this.#bytes.exactly(this.#rest))!;
    this.#rest = 0;
    return data;
  }

  stream(): AsyncGenerator<Buffer> {
    return this.#sparse ? expand(this.#sparse, this.#stored(), this.#bytes.offset) : this.#stored();
  }

  async *#stored(): AsyncGenerator<Buffer> {
    while (this.#rest > 0) {
      const chunk = await this.#bytes.some(this.#rest);
      this.#rest -= chunk.length;
      yield chunk;
    }
  }
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
): Omit<TarEntry, 'kind' | 'size' | 'offset' | 'contentOffset'> {
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
/** What libarchive writes, too: the name as in a URL, the value in base64. */
const ENCODED_XATTR = 'LIBARCHIVE.xattr.';

function xattrsOf(extended: ReadonlyMap<string, Buffer>): Xattr[] {
  const found = new Map<string, Buffer>();
  for (const [key, value] of extended) {
    if (key.startsWith(ENCODED_XATTR)) {
      found.set(unescapeUrl(key.slice(ENCODED_XATTR.length)), Buffer.from(value.toString('latin1'), 'base64'));
    }
  }
  for (const [key, value] of extended) if (key.startsWith(XATTR)) found.set(key.slice(XATTR.length), value);
  const xattrs = [...found].filter(([name]) => name !== '' && !name.includes('\0'));
  return xattrs.map(([name, value]): Xattr => [Buffer.from(name), value]).sort((a, b) => Buffer.compare(a[0], b[0]));
}

function unescapeUrl(text: string): string {
  return text.replace(/%([0-9a-fA-F]{2})/g, (_, code: string) => String.fromCharCode(Number.parseInt(code, 16)));
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
    const key = data.toString('utf8', space + 1, equals);
    const value = data.subarray(equals + 1, end - 1);
    if (!collectSparse(records, key, value)) records.set(key, value);
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
export function number(block: Buffer, at: number, length: number, offset: number): number {
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
