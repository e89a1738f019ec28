import { createHash } from 'node:crypto';
import {
  closeSync,
  constants,
  copyFileSync,
  createReadStream,
  createWriteStream,
  fchmodSync,
  fchownSync,
  fstatSync,
  futimesSync,
  lchownSync,
  lstatSync,
  lutimesSync,
  openSync,
  readFileSync,
  readSync,
  type Stats,
  symlinkSync,
  writeSync,
} from 'node:fs';
import { pipeline } from 'node:stream/promises';
import { createInflateRaw } from 'node:zlib';
import { OstreeError, systemCode } from '../errors.ts';
import { decodeFilezHeader, encodeFileHeader, type FileHeader, type FilezHeader } from '../formats/file.ts';
import { S_IFLNK, S_IFMT, S_IFREG } from '../formats/mode.ts';
import { type Checksum, loosePath } from '../formats/object-name.ts';
import { readXattrs, writeXattrs, type Xattr } from '../fs/syscalls.ts';
import { fileExtension, type ObjectFormat, type RepoMode } from '../repo/repo.ts';
import { bareUserMode, readBareObject } from './bare-object.ts';
import { cachedCopy, type ExclusiveCopy, exclusiveCopy, linkExclusively, tryLink } from './checkout-cache.ts';
import { inflateBody } from './import-object.ts';
import { readFilezHeader } from './object-header.ts';
import { type Placement, placeFile } from './place-file.ts';
import { type IdShift, shiftedOwner, shiftedXattrs } from './shifted-ids.ts';
import { WHOLE_FILE_BYTES } from './store-file.ts';

/**
 * Files to make, as one text: of each the checksum, its path and a NUL. Objects would take longer to hand to a worker
 * than it takes to link the files.
 */
export type FilesToCheckOut = string;

/** A file as it is said in FilesToCheckOut. */
export function fileToCheckOut(checksum: Checksum, to: string): FilesToCheckOut {
  return `${checksum}${to}\0`;
}

/**
 * Makes files.
 *
 * @returns the bytes of content written
 */
export async function checkOutFiles(target: CheckoutTarget, files: FilesToCheckOut): Promise<number> {
  let bytes = 0;
  for (let at = 0; at < files.length; ) {
    const end = files.indexOf('\0', at);
    bytes += await checkOutFile(target, files.slice(at, at + 64), files.slice(at + 64, end));
    at = end + 1;
  }
  return bytes;
}

export interface CheckoutTarget {
  /** The repositories to look in: the one that was asked, its parent, and so on. */
  repos: readonly (ObjectFormat & { path: string })[];
  /** Leave owners, extended attributes and setuid bits out: what an unprivileged user can have. */
  userMode: boolean;
  /** Whether files are hard links to objects, where the repository's mode allows it. */
  links: 'prefer' | 'require' | 'never';
  /** Keep unpacked copies of an archive repository's objects in it, and link to those. */
  cache: boolean;
  /** A folder of unpacked copies, each linked to one file at a time, instead: see linkExclusively. */
  exclusiveCache?: string | undefined;
  /** Owners and attributes are to be those that a user namespace sees as the object's. */
  idShift?: IdShift | undefined;
  placement: Placement;
}

/** A content object as it is in its repository. */
interface SourceObject {
  format: ObjectFormat & { path: string };
  checksum: Checksum;
  path: string;
  header: FileHeader;
  size: number;
  /** Of a small filez: its compressed content, already read. */
  filez?: { head: FilezHeader; body: Uint8Array };
  /** The copy in an exclusive cache, if there is such a cache. */
  copy?: ExclusiveCopy;
}

/**
 * Makes one file or symlink; modification times are 0, as in every OSTree checkout.
 *
 * @returns the bytes of content written
 * @throws OstreeError `exists`, `not-found` without the object, `corrupt` for one that is damaged
 */
async function checkOutFile(target: CheckoutTarget, checksum: Checksum, to: string): Promise<number> {
  const source = openObject(target, checksum, to);
  if (target.idShift) source.header = shiftedHeader(source.header, target.idShift, to);
  const { format, header, size } = source;
  const symlink = (header.mode & S_IFMT) === S_IFLNK;
  const unreadable = target.userMode && !symlink && (header.mode & 0o400) === 0;
  if (unreadable) source.header = { ...header, mode: header.mode | 0o400 };
  // An empty file is the object of many paths: it would run out of links. An unreadable one is made readable.
  const linkable = !unreadable && (symlink || size > 0);
  const wanted = { checksum, header: source.header, size };
  let written = 0;
  const place = (make: (path: string) => void | Promise<void>, linkTo?: string) =>
    placeFile(format, target.placement, to, linkTo === undefined ? wanted : { ...wanted, linkTo }, make);
  const copy = () =>
    place(async (path) => {
      written = await writeCopy(target, source, path);
    });
  if (target.exclusiveCache !== undefined && linkable && !symlink && target.links !== 'never') {
    await place(async (path) => {
      written = (await linkToOwnCopy(target, source, path)) ? size : 0;
    });
    return written;
  }
  const linkTo = linkable && target.links !== 'never' ? await linkedObject(target, source, symlink) : null;
  if (linkTo === null) await copy();
  else {
    let linked = true;
    await place((path) => {
      linked = tryLink(linkTo, path);
    }, linkTo);
    if (!linked && target.links === 'require') {
      throw new OstreeError('unsupported', `${to}: the file system makes no hard link to ${linkTo}`);
    }
    if (!linked) await copy();
  }
  return written;
}

function shiftedHeader(header: FileHeader, shift: IdShift, path: string): FileHeader {
  return { ...header, ...shiftedOwner(shift, header, path), xattrs: shiftedXattrs(header.xattrs, shift) };
}

/** Makes a file that is a link to a copy of the object that no other file is a link to, or a file of its own. */
function linkToOwnCopy(target: CheckoutTarget, source: SourceObject, to: string): Promise<boolean> {
  const copy = source.copy ?? exclusiveCopy(exclusiveFolder(target, target.exclusiveCache!), source.checksum);
  return linkExclusively(copy, to, {
    isPristine: (path, stats) => isPristine(target, source, path, stats),
    write: async (path) => {
      await writeCopy(target, source, path);
    },
  });
}

/**
 * Whether an unpacked copy is what writeCopy made. Times and attributes tell most of the time; but a program can write
 * into a file and set its time back, so the content is hashed.
 */
async function isPristine(target: CheckoutTarget, source: SourceObject, path: string, stats: Stats): Promise<boolean> {
  const { header, size, checksum } = source;
  const { uid, gid, xattrs } = target.userMode
    ? { uid: process.geteuid?.(), gid: process.getegid?.(), xattrs: [] }
    : header;
  const mode = header.mode & (S_IFMT | permissionsOf(target));
  if (stats.mode !== mode || stats.size !== size || stats.mtimeMs !== 0) return false;
  if (stats.uid !== uid || stats.gid !== gid || !sameXattrs(readXattrs(path), xattrs)) return false;
  const hash = createHash('sha256').update(encodeFileHeader(header));
  if (size <= WHOLE_FILE_BYTES) hash.update(readFileSync(path));
  else for await (const chunk of createReadStream(path, { highWaterMark: 1 << 20 })) hash.update(chunk as Buffer);
  return hash.digest('hex') === checksum;
}

/** A label of SELinux may come by itself: the system gives one to each new file. */
function sameXattrs(a: readonly Xattr[], b: readonly Xattr[]): boolean {
  const bytes = (list: readonly Xattr[]) =>
    list
      .map(([name, value]) => [Buffer.from(name), Buffer.from(value)] as const)
      .filter(([name]) => name.toString() !== 'security.selinux')
      .flat();
  const [left, right] = [bytes(a), bytes(b)];
  return left.length === right.length && left.every((part, index) => part.equals(right[index]!));
}

function permissionsOf(target: CheckoutTarget): number {
  return target.userMode ? 0o1777 : 0o7777;
}

/** What a file can be a link to; null when it has to be copied. Throws `unsupported` where that will not do. */
async function linkedObject(target: CheckoutTarget, source: SourceObject, symlink: boolean): Promise<string | null> {
  const { mode } = source.format;
  const user = isUserMode(mode);
  if (mode === 'archive' ? false : user === target.userMode) {
    // bare-user keeps symlinks as files; for bare-user-only a new symlink is as good as a link.
    return symlink && user ? null : source.path;
  }
  if (target.links === 'require' && !(symlink && user)) {
    throw new OstreeError(
      'unsupported',
      user
        ? 'User repository mode requires user checkout mode to hardlink'
        : 'Bare repository mode cannot hardlink in user checkout mode',
    );
  }
  if (mode !== 'archive' || !target.cache || !target.userMode || symlink) return null;
  return cachedCopy(source.format.path, source.checksum, (path) => writeCopy(target, source, path));
}

function isUserMode(mode: RepoMode): boolean {
  return mode === 'bare-user' || mode === 'bare-user-only';
}

function openObject(target: CheckoutTarget, checksum: Checksum, to: string): SourceObject {
  let cause: unknown;
  for (const format of target.repos) {
    const path = `${format.path}/objects/${loosePath(checksum, fileExtension(format.mode))}`;
    try {
      if (format.mode === 'archive') return { format, checksum, path, ...openArchived(target, path, checksum) };
      return { format, checksum, path, ...openBare(target, format, path, checksum) };
    } catch (error) {
      if (systemCode(error) !== 'ENOENT') throw error;
      cause = error;
    }
  }
  const object = `${checksum}.file`;
  throw new OstreeError('not-found', `no object ${object}, needed for ${to}`, { object, cause });
}

/** Where there is going to be a link, most attributes do not matter, and reading them would take longer than linking. */
function openBare(
  target: CheckoutTarget,
  format: ObjectFormat,
  path: string,
  checksum: Checksum,
): { header: FileHeader; size: number } {
  if (target.links !== 'never' && target.exclusiveCache === undefined && target.placement.existing !== 'identical') {
    const { uid, gid, mode, size } = lstatSync(path);
    const own = format.mode === 'bare-user' ? bareUserMode(path) : mode;
    if (own !== null && (own & S_IFMT) === S_IFREG && size > 0) {
      return { header: { uid, gid, mode: own, symlinkTarget: '', xattrs: [] }, size };
    }
  }
  return readBareObject(format, path, `${checksum}.file`);
}

/** Of an object that is going to be a link nothing but the header is needed. */
function openArchived(
  target: CheckoutTarget,
  path: string,
  checksum: Checksum,
): Pick<SourceObject, 'header' | 'size' | 'filez' | 'copy'> {
  const object = `${checksum}.filez`;
  const { exclusiveCache: cache } = target;
  if (cache === undefined) return openFilez(path, object);
  const copy = exclusiveCopy(exclusiveFolder(target, cache), checksum);
  const { header, size, filez } = copy.stats?.nlink === 1 ? headerOf(path, object) : openFilez(path, object);
  return { header, size, copy, ...(filez ? { filez } : {}) };
}

function headerOf(path: string, object: string): Pick<SourceObject, 'header' | 'size' | 'filez'> {
  const { header, size } = readFilezHeader(path, object);
  return { header, size };
}

/** Copies with and without owners and attributes are different files. */
function exclusiveFolder(target: CheckoutTarget, cache: string): string {
  return `${cache}/${target.userMode ? 'user' : 'exact'}`;
}

function openFilez(path: string, object: string): Pick<SourceObject, 'header' | 'size' | 'filez'> {
  const fd = openSync(path, 'r');
  let data: Buffer | null = null;
  try {
    const { size } = fstatSync(fd);
    if (size <= WHOLE_FILE_BYTES) {
      data = Buffer.allocUnsafe(size);
      for (let at = 0; at < size; ) {
        const read = readSync(fd, data, at, size - at, null);
        if (read === 0) throw new OstreeError('corrupt', `${object}: ends at byte ${at}`, { object, offset: at });
        at += read;
      }
    }
  } finally {
    closeSync(fd);
  }
  if (!data) return readFilezHeader(path, object);
  const head = decodeFilezHeader(data, object);
  return { header: head.header, size: head.size, filez: { head, body: data.subarray(head.bodyOffset) } };
}

/** Makes the file from its object's content. Throws EEXIST. Returns the bytes of content. */
async function writeCopy(target: CheckoutTarget, source: SourceObject, to: string): Promise<number> {
  const { format, header, size, filez, path, checksum } = source;
  if ((header.mode & S_IFMT) === S_IFLNK) {
    symlinkSync(header.symlinkTarget, to);
    if (!target.userMode) {
      lchownSync(to, header.uid, header.gid);
      writeXattrs(to, header.xattrs);
    }
    lutimesSync(to, 0, 0);
    return 0;
  }
  if (format.mode !== 'archive') {
    // What was linked to in vain was not read whole.
    const whole = target.idShift
      ? header
      : { ...readBareObject(format, path, `${checksum}.file`).header, mode: header.mode };
    copyFileSync(path, to, constants.COPYFILE_EXCL | constants.COPYFILE_FICLONE);
    const fd = openSync(to, constants.O_RDONLY | constants.O_NOFOLLOW);
    try {
      finish(target, whole, fd, to);
    } finally {
      closeSync(fd);
    }
    return size;
  }
  // A small filez can hold a large file of zeros: streaming keeps memory bounded.
  if (!filez || size > 2 * WHOLE_FILE_BYTES) return writeLarge(target, source, to);
  const content = inflateBody(filez.head, filez.body, `${checksum}.filez`);
  const fd = openSync(to, 'wx', 0o600);
  try {
    for (let at = 0; at < content.length; ) at += writeSync(fd, content, at);
    finish(target, header, fd, to);
  } finally {
    closeSync(fd);
  }
  return content.length;
}

async function writeLarge(target: CheckoutTarget, source: SourceObject, to: string): Promise<number> {
  const object = `${source.checksum}.filez`;
  const head = source.filez?.head ?? readFilezHeader(source.path, object);
  const out = createWriteStream(to, { flags: 'wx', mode: 0o600 });
  await pipeline(createReadStream(source.path, { start: head.bodyOffset }), createInflateRaw(), out);
  if (out.bytesWritten !== head.size) {
    throw new OstreeError('corrupt', `${object}: holds ${out.bytesWritten} bytes, not ${head.size}`, { object });
  }
  const fd = openSync(to, constants.O_RDWR | constants.O_NOFOLLOW);
  try {
    finish(target, source.header, fd, to);
  } finally {
    closeSync(fd);
  }
  return head.size;
}

function finish(target: CheckoutTarget, header: FileHeader, fd: number, path: string): void {
  if (!target.userMode) {
    fchownSync(fd, header.uid, header.gid);
    writeXattrs(path, header.xattrs);
  } else {
    // A copy of a file belongs to whom the file belongs to, where the system lets it.
    const [uid, gid] = [process.geteuid?.(), process.getegid?.()];
    const stats = fstatSync(fd);
    if (uid !== undefined && gid !== undefined && (stats.uid !== uid || stats.gid !== gid)) fchownSync(fd, uid, gid);
  }
  // After chown, which clears the setuid bits.
  fchmodSync(fd, header.mode & permissionsOf(target));
  futimesSync(fd, 0, 0);
}
