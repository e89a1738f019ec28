import {
  closeSync,
  constants,
  copyFileSync,
  createReadStream,
  createWriteStream,
  fchmodSync,
  fchownSync,
  futimesSync,
  lchownSync,
  linkSync,
  lstatSync,
  lutimesSync,
  openSync,
  readFileSync,
  readSync,
  statSync,
  symlinkSync,
  writeSync,
} from 'node:fs';
import { pipeline } from 'node:stream/promises';
import { createInflateRaw } from 'node:zlib';
import { OstreeError, systemCode } from '../errors.ts';
import { decodeFilezHeader, type FileHeader, type FilezHeader, filezHeaderLength } from '../formats/file.ts';
import { S_IFLNK, S_IFMT } from '../formats/mode.ts';
import { writeXattrs } from '../fs/syscalls.ts';
import type { ObjectFormat } from '../repo/repo.ts';
import { readBareObject } from './bare-object.ts';
import { inflateBody } from './import-object.ts';
import { WHOLE_FILE_BYTES } from './store-file.ts';

export interface FileToCheckOut {
  checksum: string;
  /** Path of the object. */
  object: string;
  /** Path of the file to make. */
  to: string;
}

export interface CheckoutTarget extends ObjectFormat {
  /** Leave owners, extended attributes and setuid bits out: what an unprivileged user can have. */
  userMode: boolean;
  /** Hard-link objects of a bare repository instead of copying them. */
  hardLink: boolean;
}

/**
 * Makes one file or symlink; modification times are 0, as in every OSTree checkout.
 *
 * @returns the bytes of content written
 * @throws EEXIST when `to` exists, `not-found` without the object, `corrupt` for one that is damaged
 */
export async function checkOutFile(target: CheckoutTarget, file: FileToCheckOut): Promise<number> {
  try {
    return target.mode === 'archive' ? await checkOutFilez(target, file) : checkOutBare(target, file);
  } catch (cause) {
    if (systemCode(cause) !== 'ENOENT' || lstatSync(file.object, { throwIfNoEntry: false })) throw cause;
    const object = `${file.checksum}.file`;
    throw new OstreeError('not-found', `no object ${object}, needed for ${file.to}`, { object, cause });
  }
}

function checkOutBare(target: CheckoutTarget, file: FileToCheckOut): number {
  // What a bare-user repository keeps as a file can be a symlink: only its attributes tell.
  if (target.hardLink && target.mode !== 'bare-user') {
    linkSync(file.object, file.to);
    return 0;
  }
  const { header, size } = readBareObject(target, file.object, `${file.checksum}.file`);
  if ((header.mode & S_IFMT) === S_IFLNK) {
    makeSymlink(target, header, file.to);
    return 0;
  }
  if (target.hardLink) {
    linkSync(file.object, file.to);
    return 0;
  }
  copyFileSync(file.object, file.to, constants.COPYFILE_EXCL | constants.COPYFILE_FICLONE);
  const fd = openSync(file.to, 'r');
  try {
    finish(target, header, fd, file.to);
  } finally {
    closeSync(fd);
  }
  return size;
}

function makeSymlink(target: CheckoutTarget, header: FileHeader, to: string): void {
  symlinkSync(header.symlinkTarget, to);
  if (!target.userMode) {
    lchownSync(to, header.uid, header.gid);
    writeXattrs(to, header.xattrs);
  }
  lutimesSync(to, 0, 0);
}

async function checkOutFilez(target: CheckoutTarget, file: FileToCheckOut): Promise<number> {
  const object = `${file.checksum}.filez`;
  if (statSync(file.object).size > WHOLE_FILE_BYTES) return checkOutLarge(target, file, readHead(file.object, object));
  const data = readFileSync(file.object);
  const head = decodeFilezHeader(data, object);
  const { header } = head;
  if ((header.mode & S_IFMT) === S_IFLNK) {
    makeSymlink(target, header, file.to);
    return 0;
  }
  // A small filez can hold a large file of zeros: streaming keeps memory bounded.
  if (head.size > 2 * WHOLE_FILE_BYTES) return checkOutLarge(target, file, head);
  const content = inflateBody(head, data.subarray(head.bodyOffset), object);
  const fd = openSync(file.to, 'wx', 0o600);
  try {
    for (let at = 0; at < content.length; ) at += writeSync(fd, content, at);
    finish(target, header, fd, file.to);
  } finally {
    closeSync(fd);
  }
  return content.length;
}

async function checkOutLarge(target: CheckoutTarget, file: FileToCheckOut, head: FilezHeader): Promise<number> {
  const out = createWriteStream(file.to, { flags: 'wx', mode: 0o600 });
  await pipeline(createReadStream(file.object, { start: head.bodyOffset }), createInflateRaw(), out);
  if (out.bytesWritten !== head.size) {
    const object = `${file.checksum}.filez`;
    throw new OstreeError('corrupt', `${object}: holds ${out.bytesWritten} bytes, not ${head.size}`, { object });
  }
  const fd = openSync(file.to, 'r+');
  try {
    finish(target, head.header, fd, file.to);
  } finally {
    closeSync(fd);
  }
  return head.size;
}

function readHead(path: string, object: string): FilezHeader {
  const fd = openSync(path, 'r');
  try {
    const start = Buffer.alloc(8);
    const data = Buffer.alloc(filezHeaderLength(start.subarray(0, readSync(fd, start, 0, 8, 0)), object));
    return decodeFilezHeader(data.subarray(0, readSync(fd, data, 0, data.length, 0)), object);
  } finally {
    closeSync(fd);
  }
}

function finish(target: CheckoutTarget, header: FileHeader, fd: number, path: string): void {
  if (!target.userMode) {
    fchownSync(fd, header.uid, header.gid);
    writeXattrs(path, header.xattrs);
  }
  // After chown, which clears the setuid bits.
  fchmodSync(fd, header.mode & (target.userMode ? 0o777 : 0o7777));
  futimesSync(fd, 0, 0);
}
