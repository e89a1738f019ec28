import { createHash, type Hash } from 'node:crypto';
import {
  closeSync,
  constants,
  copyFileSync,
  fchmodSync,
  fstatSync,
  linkSync,
  openSync,
  readlinkSync,
  readSync,
  type Stats,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import { deflateRawSync } from 'node:zlib';
import { OstreeError, systemCode } from '../errors.ts';
import { encodeFileHeader, encodeFilezHeader, type FileHeader } from '../formats/file.ts';
import { S_IFLNK, S_IFMT } from '../formats/mode.ts';
import { type Checksum, loosePath } from '../formats/object-name.ts';
import { readXattrs, type Xattr } from '../fs/syscalls.ts';
import { isThere } from '../repo/objects.ts';
import { fileExtension, type ObjectFormat } from '../repo/repo.ts';
import { assertStorable, finishBareFile, isStoredAsSymlink, writeBareFile, writeBareSymlink } from './bare-object.ts';
import { deflateRaw, outputBytes } from './deflate.ts';

/** Where a worker puts new objects, and where it looks for those that are there. */
export interface ObjectTarget extends ObjectFormat {
  /** The repository's `objects` folder. */
  objects: string;
  /** The transaction's staging folder; objects lie in it as `<checksum>.<extension>`. */
  staging: string;
  /** Deflate level, 1 to 9. */
  level: number;
}

/** What tells that a file is still the one that was read. */
export interface FileStamp {
  ino: number;
  size: number;
  mtimeMs: number;
  ctimeMs: number;
  /** It was written so shortly before that another write would not show in its times. */
  fresh: boolean;
}

/** Longer than a tick of any clock that a local file system takes its times from. */
const FRESH_MS = 100;

export function fileStamp({ ino, size, mtimeMs, ctimeMs }: Stats): FileStamp {
  return { ino, size, mtimeMs, ctimeMs, fresh: ctimeMs > Date.now() - FRESH_MS };
}

/** A content object as it ended up. */
export interface StoredObject {
  checksum: Checksum;
  /** Bytes of content. */
  size: number;
  /** Bytes newly written to staging; 0 when the object was there already. */
  written: number;
  /** @internal Set when the file is too large for one worker: hashed, not stored yet. What it was like before it was hashed. */
  deferred?: FileStamp;
}

/** Up to here a file is read once, into memory, and hashed and compressed there. */
export const WHOLE_FILE_BYTES = 8 * 1024 * 1024;
const READ_BYTES = 1024 * 1024;

export interface FileToStore {
  path: string;
  uid: number;
  gid: number;
  mode: number;
  size: number;
  /** Extended attributes, or whether to read them from the file. */
  xattrs: boolean | readonly Xattr[];
  /** Make the file itself the object of a bare repository on its file system, and give it the object's attributes. */
  adopt?: boolean;
}

/**
 * Hashes a file of a folder and, when its object is new, stages it. Large files are only hashed (`deferred`):
 * their compression is shared out by the caller.
 */
export function storeFile(target: ObjectTarget, file: FileToStore): StoredObject & { header: FileHeader } {
  const isLink = (file.mode & S_IFMT) === S_IFLNK;
  const header: FileHeader = {
    uid: file.uid,
    gid: file.gid,
    mode: file.mode,
    symlinkTarget: isLink ? readlinkSync(file.path) : '',
    xattrs: file.xattrs === true ? readXattrs(file.path) : file.xattrs || [],
  };
  if (isLink) return { ...storeBuffer(target, header, new Uint8Array(0)), header };
  const fd = openSync(file.path, constants.O_RDONLY | constants.O_NOFOLLOW);
  try {
    const stats = fstatSync(fd);
    const { size } = stats;
    if (file.adopt) return { ...adoptFile(target, file.path, fd, size, header), header };
    if (size <= WHOLE_FILE_BYTES) return { ...storeBuffer(target, header, readWhole(fd, size, file.path)), header };
    const deferred = fileStamp(stats);
    const checksum = hashFd(fd, createHash('sha256').update(encodeFileHeader(header)), size, file.path);
    return { checksum, size, written: 0, header, ...(isStored(target, checksum) ? {} : { deferred }) };
  } finally {
    closeSync(fd);
  }
}

function adoptFile(target: ObjectTarget, path: string, fd: number, size: number, header: FileHeader): StoredObject {
  const checksum = hashFd(fd, createHash('sha256').update(encodeFileHeader(header)), size, path);
  if (isStored(target, checksum)) return { checksum, size, written: 0 };
  assertStorable(target, header, checksum);
  const staged = join(target.staging, `${checksum}.${fileExtension(target.mode)}`);
  try {
    linkSync(path, staged);
  } catch (error) {
    if (systemCode(error) !== 'EEXIST') throw error;
    return { checksum, size, written: 0 }; // another file of the same content was first
  }
  finishBareFile(target, staged, header);
  return { checksum, size, written: size };
}

/**
 * Each worker reads file after file into this one buffer: with a new one for each, memory grows by hundreds of
 * megabytes before anybody collects them. Its content is of use until the next call only.
 */
let scratch = Buffer.alloc(0);

function readWhole(fd: number, size: number, path: string): Buffer {
  // One byte more than expected shows a file that grew.
  if (scratch.length < size + 1) scratch = Buffer.allocUnsafeSlow(Math.min(2 * size + 65536, WHOLE_FILE_BYTES + 1));
  const buffer = scratch.subarray(0, size + 1);
  let length = 0;
  for (;;) {
    const read = readSync(fd, buffer, length, buffer.length - length, null);
    if (read === 0) break;
    length += read;
    if (length > size) break;
  }
  if (length !== size) throw changed(path);
  return buffer.subarray(0, size);
}

/** Feeds an open file to a hash, whatever its size, and checks that it has `size` bytes. */
function hashFd(fd: number, hash: Hash, size: number, path: string): Checksum {
  if (scratch.length < READ_BYTES) scratch = Buffer.allocUnsafeSlow(READ_BYTES);
  const buffer = scratch;
  let length = 0;
  for (;;) {
    const read = readSync(fd, buffer, 0, buffer.length, null);
    if (read === 0) break;
    length += read;
    hash.update(buffer.subarray(0, read));
  }
  if (length !== size) throw changed(path);
  return hash.digest('hex');
}

export function changed(path: string): OstreeError {
  return new OstreeError('changed', `${path}: changed while it was being read`, {
    hint: 'Commit again when nothing writes to the folder.',
  });
}

/** Hashes content that is in memory and, when its object is new, stages it. */
export function storeBuffer(target: ObjectTarget, header: FileHeader, content: Uint8Array): StoredObject {
  const checksum = createHash('sha256').update(encodeFileHeader(header)).update(content).digest('hex');
  return stageBuffer(target, checksum, header, content);
}

/** Stages content that has been hashed, unless it is there. */
export function stageBuffer(
  target: ObjectTarget,
  checksum: Checksum,
  header: FileHeader,
  content: Uint8Array,
): StoredObject {
  const size = content.length;
  if (isStored(target, checksum)) return { checksum, size, written: 0 };
  const path = join(target.staging, `${checksum}.${fileExtension(target.mode)}`);
  try {
    // Not a temporary name and a rename: nothing reads staging before every worker is done, and a transaction
    // in which one failed is thrown away whole.
    return { checksum, size, written: writeObject(target, path, header, content, checksum) };
  } catch (error) {
    if (systemCode(error) !== 'EEXIST') throw error;
    return { checksum, size, written: 0 }; // another worker has the same content
  }
}

function writeObject(
  target: ObjectTarget,
  path: string,
  header: FileHeader,
  content: Uint8Array,
  checksum: Checksum,
): number {
  if (target.mode === 'archive') {
    const head = encodeFilezHeader(header, content.length);
    const isLink = (header.mode & S_IFMT) === S_IFLNK;
    const body = isLink ? new Uint8Array(0) : deflateRaw(content, target.level);
    writeNew(path, [head, body]);
    return head.length + body.length;
  }
  assertStorable(target, header, checksum);
  if (isStoredAsSymlink(target, header)) writeBareSymlink(target, path, header);
  else writeBareFile(target, path, header, content);
  return content.length;
}

function writeNew(path: string, parts: Uint8Array[]): void {
  const fd = openSync(path, 'wx', 0o644);
  try {
    fchmodSync(fd, 0o644);
    for (const part of parts) {
      for (let at = 0; at < part.length; ) at += writeSync(fd, part, at);
    }
  } finally {
    closeSync(fd);
  }
}

export function isStored(target: ObjectTarget, checksum: Checksum): boolean {
  const extension = fileExtension(target.mode);
  return (
    isThere(join(target.objects, loosePath(checksum, extension)), target.mode) ||
    isThere(join(target.staging, `${checksum}.${extension}`), target.mode)
  );
}

/** Stages a large regular file of a bare repository by copying it (or sharing its blocks). */
export function stageCopy(target: ObjectTarget, checksum: Checksum, path: string, header: FileHeader): void {
  assertStorable(target, header, checksum);
  const staged = join(target.staging, `${checksum}.file`);
  copyFileSync(path, staged, constants.COPYFILE_FICLONE);
  finishBareFile(target, staged, header);
}

/** One piece of a file, compressed so that the pieces one after the other are one deflate stream. */
export interface Piece {
  path: string;
  offset: number;
  length: number;
  last: boolean;
  level: number;
}

/** Deflate looks back this far: a piece is compressed with the end of the one before as its dictionary. */
const WINDOW_BYTES = 32 * 1024;
const Z_SYNC_FLUSH = 2;
const Z_FINISH = 4;

export function deflatePiece(piece: Piece): Buffer {
  const lead = Math.min(WINDOW_BYTES, piece.offset);
  if (scratch.length < lead + piece.length) scratch = Buffer.allocUnsafeSlow(lead + piece.length);
  const buffer = scratch.subarray(0, lead + piece.length);
  const fd = openSync(piece.path, constants.O_RDONLY | constants.O_NOFOLLOW);
  try {
    let length = 0;
    while (length < buffer.length) {
      const read = readSync(fd, buffer, length, buffer.length - length, piece.offset - lead + length);
      if (read === 0) throw changed(piece.path);
      length += read;
    }
  } finally {
    closeSync(fd);
  }
  return deflateRawSync(buffer.subarray(lead), {
    level: piece.level,
    chunkSize: Math.min(65536, outputBytes(piece.length)),
    finishFlush: piece.last ? Z_FINISH : Z_SYNC_FLUSH,
    ...(lead > 0 ? { dictionary: buffer.subarray(0, lead) } : {}),
  });
}
