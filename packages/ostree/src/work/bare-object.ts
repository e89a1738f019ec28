import {
  chmodSync,
  chownSync,
  closeSync,
  lchownSync,
  lstatSync,
  lutimesSync,
  openSync,
  readFileSync,
  readlinkSync,
  type Stats,
  symlinkSync,
  writeSync,
} from 'node:fs';
import { OstreeError } from '../errors.ts';
import { decodeFileMetadata, encodeFileMetadata, type FileHeader } from '../formats/file.ts';
import { S_IFLNK, S_IFMT, S_IFREG } from '../formats/mode.ts';
import type { Checksum } from '../formats/object-name.ts';
import { readOneXattr, readXattrs, writeXattrs } from '../fs/syscalls.ts';
import type { ObjectFormat } from '../repo/repo.ts';

// Content objects of the modes bare, bare-user and bare-user-only: `.file`, uncompressed.

/** Where a bare-user repository keeps what the file itself cannot have (`_ostree_write_bareuser_metadata`). */
const METADATA_NAME = 'user.ostreemeta';
const METADATA_XATTR = Buffer.from(METADATA_NAME);

/** A content object of a bare repository as it is on disk. */
export interface BareObject {
  header: FileHeader;
  /** Bytes of content; 0 for a symlink. */
  size: number;
}

/**
 * Reads what a bare object says about its file (`_ostree_repo_load_file_bare`).
 *
 * @throws ENOENT; OstreeError `corrupt` for something that is no object of this mode
 */
export function readBareObject(format: ObjectFormat, path: string, object: string): BareObject {
  const stats = lstatSync(path);
  const link = stats.isSymbolicLink();
  if (!link && !stats.isFile()) throw notAnObject(object, 'neither a file nor a symlink');
  if (format.mode === 'bare-user') return readBareUser(path, stats, object);
  const only = format.mode === 'bare-user-only';
  const header: FileHeader = {
    uid: only ? 0 : stats.uid,
    gid: only ? 0 : stats.gid,
    mode: link ? S_IFLNK | 0o777 : S_IFREG | (stats.mode & 0o7777),
    symlinkTarget: link ? readlinkSync(path) : '',
    xattrs: only || format.ignoreXattrs ? [] : readXattrs(path),
  };
  return { header, size: link ? 0 : stats.size };
}

/** The st_mode that a bare-user object says its file has, without all else that it says; null where it says nothing. */
export function bareUserMode(path: string): number | null {
  const data = readOneXattr(path, METADATA_NAME);
  return data && data.length >= 12 ? data.readUInt32BE(8) : null;
}

function readBareUser(path: string, stats: Stats, object: string): BareObject {
  if (stats.isSymbolicLink()) throw notAnObject(object, 'a symlink, in a bare-user repository');
  const data = readOneXattr(path, METADATA_NAME);
  if (!data) throw notAnObject(object, 'without its attribute user.ostreemeta');
  const metadata = decodeFileMetadata(data, object);
  const link = (metadata.mode & S_IFMT) === S_IFLNK;
  if (!link) return { header: { ...metadata, symlinkTarget: '' }, size: stats.size };
  // The longest path of Linux, and the NUL that libostree puts after it.
  if (stats.size > 4096) throw notAnObject(object, `a symlink of ${stats.size} bytes`);
  const content = readFileSync(path);
  const end = content.indexOf(0);
  const symlinkTarget = content.subarray(0, end < 0 ? content.length : end).toString('utf8');
  if (symlinkTarget === '') throw notAnObject(object, 'a symlink without target');
  return { header: { ...metadata, symlinkTarget }, size: 0 };
}

function notAnObject(object: string, what: string): OstreeError {
  return new OstreeError('corrupt', `${object}: is ${what}`, { object });
}

/** Whether a symlink is one on disk, too; bare-user keeps its target in a file. */
export function isStoredAsSymlink(format: ObjectFormat, header: FileHeader): boolean {
  return (header.mode & S_IFMT) === S_IFLNK && format.mode !== 'bare-user';
}

/** Makes the symlink object at a path. Throws EEXIST. */
export function writeBareSymlink(format: ObjectFormat, path: string, header: FileHeader): void {
  symlinkSync(header.symlinkTarget, path);
  if (format.mode !== 'bare') return;
  lchownSync(path, header.uid, header.gid);
  if (!format.ignoreXattrs) writeXattrs(path, header.xattrs);
}

/** Makes a bare object of content that is in memory. Throws EEXIST. */
export function writeBareFile(format: ObjectFormat, path: string, header: FileHeader, content: Uint8Array): void {
  const isLink = (header.mode & S_IFMT) === S_IFLNK;
  const data = isLink ? Buffer.from(`${header.symlinkTarget}\0`) : content;
  const fd = openSync(path, 'wx', 0o600);
  try {
    for (let at = 0; at < data.length; ) at += writeSync(fd, data, at);
  } finally {
    closeSync(fd);
  }
  finishBareFile(format, path, header);
}

/**
 * Gives a file that holds the content of an object its owner, permissions, attributes and time. Last of all: a
 * setuid file must not be there while its content is still being checked.
 */
export function finishBareFile(format: ObjectFormat, path: string, header: FileHeader): void {
  const regular = (header.mode & S_IFMT) === S_IFREG;
  switch (format.mode) {
    case 'bare':
      chownSync(path, header.uid, header.gid);
      if (!format.ignoreXattrs) writeXattrs(path, header.xattrs);
      chmodSync(path, header.mode & 0o7777);
      break;
    case 'bare-user':
      writeXattrs(path, [[METADATA_XATTR, encodeFileMetadata(header)]]);
      chmodSync(path, regular ? (header.mode & 0o775) | 0o400 : 0o644);
      break;
    default:
      chmodSync(path, header.mode & 0o777);
  }
  // Tools such as guile compare times: no object is newer than another (`OSTREE_TIMESTAMP`).
  lutimesSync(path, 0, 0);
}

/**
 * Refuses what a repository of this mode cannot give back. bare-user-only keeps permissions 0775 at most, no owners
 * and no extended attributes (`_ostree_validate_bareuseronly_mode`; libostree loses owners and attributes silently).
 */
export function assertStorable(format: ObjectFormat, header: FileHeader, checksum: Checksum): void {
  if (format.mode !== 'bare-user-only') return;
  const isLink = (header.mode & S_IFMT) === S_IFLNK;
  const bits = isLink ? 0 : header.mode & 0o7777 & ~0o775;
  const object = `${checksum}.file`;
  const hint = 'Use an archive repository, or commit with canonical permissions.';
  if (bits !== 0) {
    const octal = (mode: number) => `0${mode.toString(8).padStart(4, '0')}`;
    const message = `Content object ${checksum}: invalid mode ${octal(header.mode)} with bits ${octal(bits)}`;
    throw new OstreeError('unsupported', message, { object, hint });
  }
  const why =
    header.uid !== 0 || header.gid !== 0
      ? `owner ${header.uid}:${header.gid}`
      : header.xattrs.length > 0
        ? 'extended attributes'
        : null;
  if (why) {
    throw new OstreeError('unsupported', `${object}: a bare-user-only repository cannot keep its ${why}`, {
      object,
      hint,
    });
  }
}
