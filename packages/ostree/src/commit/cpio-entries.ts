import { OstreeError } from '../errors.ts';
import { S_IFDIR, S_IFLNK, S_IFMT, S_IFREG } from '../formats/mode.ts';
import { ByteReader, invalidArchive } from './byte-reader.ts';
import type { ArchiveReader, TarEntry } from './tar-entries.ts';

/** `070701` (newc), `070702` (newc with checksums) and `070707` (odc, the POSIX form). */
export function isCpio(start: Buffer): boolean {
  return /^07070[127]/.test(start.toString('latin1', 0, 6));
}

const MAX_NAME_BYTES = 1024 * 1024;

interface Header {
  ino: string;
  mode: number;
  uid: number;
  gid: number;
  links: number;
  size: number;
  nameLength: number;
  /** What names and contents are padded to. */
  alignment: 1 | 4;
}

/**
 * Reads a cpio archive (`find . | cpio -o -H newc`). Several names of one file have its content with one of them, mostly
 * the last; all but the first are given out as hard links to that one.
 */
export class CpioReader implements ArchiveReader {
  readonly #bytes: ByteReader;
  #rest = 0;
  #padding = 0;
  readonly #firstNames = new Map<string, string>();

  constructor(stream: AsyncIterable<Uint8Array>) {
    this.#bytes = new ByteReader(stream);
  }

  /** @throws OstreeError `invalid` with the offset of what is no cpio archive */
  async next(): Promise<TarEntry | null> {
    await this.#bytes.skip(this.#rest + this.#padding);
    const offset = this.#bytes.offset;
    const header = await this.#header(offset);
    const name = await this.#text(header.nameLength, offset, header.alignment === 4 ? 110 : 0, header.alignment);
    if (name === 'TRAILER!!!') {
      this.#rest = 0;
      this.#padding = 0;
      await this.#bytes.drain();
      return null;
    }
    const { mode, uid, gid, size } = header;
    this.#rest = size;
    this.#padding = paddingOf(size, header.alignment);
    const common = { path: name, mode: mode & 0o7777, uid, gid, xattrs: [], offset, contentOffset: this.#bytes.offset };
    switch (mode & S_IFMT) {
      case S_IFDIR:
        return { ...common, kind: 'folder', target: '', size: 0 };
      case S_IFLNK: {
        if (size > MAX_NAME_BYTES) throw invalidArchive(`a symlink of ${size} bytes`, offset);
        const target = utf8((await this.#bytes.exactly(size))!, offset);
        this.#rest = 0;
        return { ...common, kind: 'symlink', target, size: 0 };
      }
      case S_IFREG: {
        const first = header.links > 1 ? this.#firstNames.get(header.ino) : undefined;
        if (header.links > 1 && first === undefined) this.#firstNames.set(header.ino, name);
        return { ...common, kind: first === undefined ? 'file' : 'link', target: first ?? '', size };
      }
      default:
        return { ...common, kind: 'device', target: '', size: 0 };
    }
  }

  async #header(offset: number): Promise<Header> {
    const magic = (await this.#bytes.exactly(6))!.toString('latin1');
    if (magic === '070707') {
      const text = (await this.#bytes.exactly(70))!.toString('latin1');
      const field = (at: number, length: number) => parse(text.slice(at, at + length), 8, offset);
      return {
        ino: text.slice(0, 12),
        mode: field(12, 6),
        uid: field(18, 6),
        gid: field(24, 6),
        links: field(30, 6),
        nameLength: field(53, 6),
        size: field(59, 11),
        alignment: 1,
      };
    }
    if (magic !== '070701' && magic !== '070702') throw invalidArchive('what is no cpio header', offset);
    const text = (await this.#bytes.exactly(104))!.toString('latin1');
    const field = (index: number) => parse(text.slice(index * 8, index * 8 + 8), 16, offset);
    return {
      ino: `${text.slice(0, 8)}:${text.slice(56, 72)}`,
      mode: field(1),
      uid: field(2),
      gid: field(3),
      links: field(4),
      size: field(6),
      nameLength: field(11),
      alignment: 4,
    };
  }

  /** A name with its NUL, and the padding after it. */
  async #text(length: number, offset: number, before: number, alignment: number): Promise<string> {
    if (length < 1 || length > MAX_NAME_BYTES) throw invalidArchive(`a name of ${length} bytes`, offset);
    const bytes = (await this.#bytes.exactly(length))!;
    await this.#bytes.skip(paddingOf(before + length, alignment));
    if (bytes[length - 1] !== 0) throw invalidArchive('a name without its NUL', offset);
    return utf8(bytes.subarray(0, -1), offset);
  }

  async content(): Promise<Buffer> {
    const data = (await this.#bytes.exactly(this.#rest))!;
    this.#rest = 0;
    return data;
  }

  async *stream(): AsyncGenerator<Buffer> {
    while (this.#rest > 0) {
      const chunk = await this.#bytes.some(this.#rest);
      this.#rest -= chunk.length;
      yield chunk;
    }
  }
}

function parse(digits: string, base: 8 | 16, offset: number): number {
  const valid = base === 8 ? /^[0-7]+$/ : /^[0-9a-fA-F]+$/;
  if (!valid.test(digits)) throw invalidArchive('a malformed number', offset);
  return Number.parseInt(digits, base);
}

function paddingOf(size: number, alignment: number): number {
  return (alignment - (size % alignment)) % alignment;
}

const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

function utf8(bytes: Buffer, offset: number): string {
  if (bytes.includes(0)) throw invalidArchive('a name with a NUL', offset);
  try {
    return decoder.decode(bytes);
  } catch (cause) {
    throw new OstreeError('unsupported', `cpio: Invalid UTF-8 in filename at byte ${offset}`, { offset, cause });
  }
}
