import { OstreeError } from '../errors.ts';
import type { Xattr } from '../fs/syscalls.ts';
import { decode } from '../gvariant/decode.ts';
import { encode } from '../gvariant/encode.ts';
import { S_IFLNK, S_IFMT, S_IFREG } from './mode.ts';

/**
 * Everything about a file but its content. A symlink's target is here, and it has no content. Files share headers:
 * nobody changes one.
 */
export interface FileHeader {
  readonly uid: number;
  readonly gid: number;
  /** st_mode: type and permissions. */
  readonly mode: number;
  /** Target of a symlink; empty for a regular file. */
  readonly symlinkTarget: string;
  readonly xattrs: readonly Xattr[];
}

/** `OSTREE_FILE_HEADER_GVARIANT_FORMAT`: uid gid mode rdev symlink-target xattrs; integers big-endian. */
const FILE_FORMAT = '(uuuusa(ayay))';
/** The header of a filez: the same after a big-endian size (`_OSTREE_ZLIB_FILE_HEADER_GVARIANT_FORMAT`). */
const FILEZ_FORMAT = '(tuuuusa(ayay))';

/** Generous for names and values of extended attributes (64 KiB in Linux), and a bound for hostile input. */
export const MAX_HEADER_BYTES = 1024 * 1024;

/**
 * The bytes that are hashed before a file's content to make its checksum: big-endian length, four NULs, header
 * (`_ostree_file_header_new` and `write_padding`).
 */
export function encodeFileHeader(header: FileHeader): Buffer {
  const known = encoded.get(header);
  if (known) return known;
  const bytes = frame(fields(FILE_FORMAT, header, []), 0, header);
  if (shared.has(header)) encoded.set(header, bytes);
  return bytes;
}

/** What the headers that many files share are encoded as. */
const encoded = new WeakMap<FileHeader, Buffer>();
const shared = new WeakSet<FileHeader>();
/** Headers of regular files as they were decoded, by their bytes after the size: a tree has a few of them. */
const decoded = new Map<string, FileHeader>();
const MAX_DECODED = 512;
const MAX_DECODED_BYTES = 512;

/** What a filez starts with; raw deflate of the content follows. `size` is that of the content, unpacked. */
export function encodeFilezHeader(header: FileHeader, size: number): Buffer {
  const framed = frame(fields(FILEZ_FORMAT, header, [0n]), 8, header);
  framed.writeBigUInt64BE(BigInt(size), 8);
  return framed;
}

function fields(format: string, header: FileHeader, before: bigint[]): Buffer {
  const type = header.mode & S_IFMT;
  if (type !== S_IFREG && type !== S_IFLNK) {
    throw new OstreeError('unsupported', `mode 0${header.mode.toString(8)}: only files and symlinks can be stored`);
  }
  const xattrs = header.xattrs.map(([name, value]) => [Buffer.concat([name, Buffer.alloc(1)]), value]);
  return encode(format, [...before, 0, 0, 0, 0, header.symlinkTarget, xattrs]);
}

function frame(variant: Buffer, at: number, header: FileHeader): Buffer {
  variant.writeUInt32BE(header.uid, at);
  variant.writeUInt32BE(header.gid, at + 4);
  variant.writeUInt32BE(header.mode, at + 8);
  const framed = Buffer.alloc(8 + variant.length);
  framed.writeUInt32BE(variant.length, 0);
  variant.copy(framed, 8);
  return framed;
}

export interface FilezHeader {
  header: FileHeader;
  /** Size of the content, unpacked, in bytes. */
  size: number;
  /** Where the compressed content starts. */
  bodyOffset: number;
}

/**
 * Bytes that the header of a filez takes in all, from its first four bytes. Throws `corrupt` for absurd lengths,
 * so that nobody allocates what a hostile file asks for.
 */
export function filezHeaderLength(start: Uint8Array, object: string): number {
  if (start.length < 8) throw new OstreeError('corrupt', `${object}: ends at byte ${start.length}`, { object });
  const view = Buffer.from(start.buffer, start.byteOffset, start.byteLength);
  const length = view.readUInt32BE(0);
  if (length > MAX_HEADER_BYTES) {
    throw new OstreeError('corrupt', `${object}: a header of ${length} bytes at byte 0`, { object, offset: 0 });
  }
  if (view.readUInt32BE(4) !== 0) {
    throw new OstreeError('corrupt', `${object}: padding that is not zero at byte 4`, { object, offset: 4 });
  }
  return 8 + length;
}

/** Reads the header at the start of a filez. `data` must hold at least `filezHeaderLength` bytes. */
export function decodeFilezHeader(data: Uint8Array, object: string): FilezHeader {
  const bodyOffset = filezHeaderLength(data, object);
  if (data.length < bodyOffset) throw new OstreeError('corrupt', `${object}: header cut short`, { object });
  const variant = Buffer.from(data.buffer, data.byteOffset + 8, bodyOffset - 8);
  const key = variant.length <= MAX_DECODED_BYTES ? variant.toString('latin1', 8) : null;
  const known = key === null ? undefined : decoded.get(key);
  const header = known ?? decodeHeader(variant, object);
  const size = Number(variant.readBigUInt64BE(0));
  const isLink = (header.mode & S_IFMT) === S_IFLNK;
  if (isLink && size !== 0) throw badHeader(object, 'a symlink with content');
  if (!Number.isSafeInteger(size)) throw badHeader(object, 'an absurd size');
  if (!known && key !== null && !isLink) {
    if (decoded.size >= MAX_DECODED) decoded.clear();
    decoded.set(key, header);
    shared.add(header);
  }
  return { header, size, bodyOffset };
}

function decodeHeader(variant: Buffer, object: string): FileHeader {
  const [, , , , , symlinkTarget, xattrs] = decode(FILEZ_FORMAT, variant, { object }) as unknown as [
    bigint,
    number,
    number,
    number,
    number,
    string,
    [Uint8Array, Uint8Array][],
  ];
  const mode = variant.readUInt32BE(16);
  const type = mode & S_IFMT;
  if ((type !== S_IFREG && type !== S_IFLNK) || (mode & ~(S_IFMT | 0o7777)) !== 0) {
    throw badHeader(object, `mode 0${mode.toString(8)} is neither a file's nor a symlink's`);
  }
  if (variant.readUInt32BE(20) !== 0) throw badHeader(object, 'a device number');
  if (type === S_IFLNK && symlinkTarget === '') throw badHeader(object, 'a symlink without target');
  if (type === S_IFREG && symlinkTarget !== '') throw badHeader(object, 'a regular file with a symlink target');
  // The values are kept longer than what they were read from.
  const copied = assertXattrs(xattrs, object).map(([name, value]): Xattr => [Buffer.from(name), Buffer.from(value)]);
  return { uid: variant.readUInt32BE(8), gid: variant.readUInt32BE(12), mode, symlinkTarget, xattrs: copied };
}

function badHeader(object: string, what: string): OstreeError {
  return new OstreeError('corrupt', `${object}: ${what} in the header at byte 8`, { object, offset: 8 });
}

/** `OSTREE_FILEMETA_GVARIANT_FORMAT`: uid gid mode xattrs, the integers big-endian. */
const METADATA_FORMAT = '(uuua(ayay))';

/** What a bare-user repository keeps beside a file's content, in `user.ostreemeta`. */
export function encodeFileMetadata(header: Omit<FileHeader, 'symlinkTarget'>): Buffer {
  const xattrs = header.xattrs.map(([name, value]) => [Buffer.concat([name, Buffer.alloc(1)]), value]);
  const data = encode(METADATA_FORMAT, [0, 0, 0, xattrs]);
  data.writeUInt32BE(header.uid, 0);
  data.writeUInt32BE(header.gid, 4);
  data.writeUInt32BE(header.mode, 8);
  return data;
}

/** Throws `corrupt` for anything but the metadata of a file or symlink. */
export function decodeFileMetadata(data: Uint8Array, object: string): Omit<FileHeader, 'symlinkTarget'> {
  const [, , , xattrs] = decode(METADATA_FORMAT, data, { object }) as [
    number,
    number,
    number,
    [Uint8Array, Uint8Array][],
  ];
  const view = Buffer.from(data.buffer, data.byteOffset, data.byteLength);
  const mode = view.readUInt32BE(8);
  const type = mode & S_IFMT;
  if ((type !== S_IFREG && type !== S_IFLNK) || (mode & ~(S_IFMT | 0o7777)) !== 0) {
    throw new OstreeError('corrupt', `${object}: mode 0${mode.toString(8)} is neither a file's nor a symlink's`, {
      object,
      offset: 8,
    });
  }
  return { uid: view.readUInt32BE(0), gid: view.readUInt32BE(4), mode, xattrs: assertXattrs(xattrs, object) };
}

/** Checks decoded xattrs and takes the NUL off their names. */
export function assertXattrs(pairs: readonly (readonly [Uint8Array, Uint8Array])[], object: string): Xattr[] {
  let previous: Uint8Array | undefined;
  return pairs.map(([name, value]): Xattr => {
    const ok = name.length > 1 && name.indexOf(0) === name.length - 1;
    if (!ok || (previous && Buffer.compare(previous, name) >= 0)) {
      throw new OstreeError('corrupt', `${object}: extended attributes that are unnamed or out of order`, { object });
    }
    previous = name;
    return [name.subarray(0, -1), value];
  });
}
