import {
  chmodSync,
  constants,
  copyFileSync,
  linkSync,
  lstatSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
} from 'node:fs';
import { join } from 'node:path';
import { OstreeError, systemCode } from '../errors.ts';
import type { FileHeader } from '../formats/file.ts';
import { S_IFLNK, S_IFMT } from '../formats/mode.ts';
import { type Checksum, corruptedObject } from '../formats/object-name.ts';
import { fileExtension, type ObjectFormat } from '../repo/repo.ts';
import { assertStorable, finishBareFile, isStoredAsSymlink, readBareObject, writeBareSymlink } from './bare-object.ts';
import { importFilez, importFilezFile } from './import-object.ts';
import { isStored, type ObjectTarget, type StoredObject, storeBuffer, storeFile } from './store-file.ts';
import { type ObjectToVerify, verifyObject } from './verify-object.ts';

export interface CopyOptions {
  /** How the repository keeps its objects. */
  from: ObjectFormat;
  /** Hard-link where the modes are the same and the file system allows it: objects never change. */
  link: boolean;
  /** Refuse what does not have the checksum that it should. What is unpacked from an archive is always hashed. */
  verify: boolean;
}

/** Beyond this an archived file is converted through a stream. */
const CONVERT_IN_MEMORY_BYTES = 8 * 1024 * 1024;
const INFLATE_IN_MEMORY_BYTES = 32n * 1024n * 1024n;

/**
 * Stages an object that lies in another repository.
 *
 * @returns with `written` the bytes that it takes in the receiving repository, 0 when it was staged already. A file
 *   too large for one worker comes back `deferred`: it has to be stored by Transaction.storeFiles.
 * @throws OstreeError `corrupt`; `not-found` when it is not there
 */
export async function copyObject(
  target: ObjectTarget,
  object: ObjectToVerify,
  options: CopyOptions,
): Promise<StoredObject> {
  const { type, checksum } = object;
  try {
    if (type === 'file' && isStored(target, checksum)) return { checksum, size: 0, written: 0 };
    if (type !== 'file' || options.from.mode === target.mode) return await takeOver(target, object, options);
    return options.from.mode === 'archive' ? await unpack(target, object) : await convert(target, object, options);
  } catch (cause) {
    if (systemCode(cause) !== 'ENOENT') throw cause;
    const name = `${checksum}.${type}`;
    throw new OstreeError('not-found', `${object.path}: no object ${name}`, { object: name, cause });
  }
}

async function takeOver(target: ObjectTarget, object: ObjectToVerify, options: CopyOptions): Promise<StoredObject> {
  const { type, checksum, path } = object;
  const extension = type === 'file' ? fileExtension(target.mode) : type;
  const staged = join(target.staging, `${checksum}.${extension}`);
  if (!(options.link && tryLink(path, staged))) {
    if (type === 'file' && target.mode !== 'archive') copyBare(target, object, staged, options.from);
    else copy(path, staged);
  }
  if (options.verify) await assertStaged(target, type, checksum);
  const { size } = lstatSync(staged);
  return { checksum, size, written: size };
}

/** What is in staging is what is hashed, so that nothing can change in between. */
async function assertStaged(target: ObjectTarget, type: ObjectToVerify['type'], checksum: Checksum): Promise<void> {
  const name = `${checksum}.${type === 'file' ? fileExtension(target.mode) : type}`;
  const path = join(target.staging, name);
  const damage = await verifyObject(target, { type, checksum, path });
  if (!damage) return;
  rmSync(path, { force: true });
  throw new OstreeError('corrupt', damage.message, { object: name, offset: 0 });
}

/** False where a link cannot be made: another file system, too many links, not allowed. */
function tryLink(path: string, staged: string): boolean {
  try {
    linkSync(path, staged);
    return true;
  } catch (error) {
    const code = systemCode(error);
    if (code === 'EEXIST') return true;
    if (code === 'EXDEV' || code === 'EMLINK' || code === 'EPERM' || code === 'ENOTSUP') return false;
    throw error;
  }
}

function copy(path: string, staged: string): void {
  copyFileSync(path, staged, constants.COPYFILE_FICLONE);
  chmodSync(staged, 0o644);
}

/** Copies a bare object with all that makes it one. */
function copyBare(target: ObjectTarget, { checksum, path }: ObjectToVerify, staged: string, from: ObjectFormat): void {
  const { header } = readBareObject(from, path, `${checksum}.file`);
  rmSync(staged, { force: true });
  if (isStoredAsSymlink(target, header)) {
    writeBareSymlink(target, staged, header);
    return;
  }
  copyFileSync(path, staged, constants.COPYFILE_FICLONE);
  finishBareFile(target, staged, header);
}

async function unpack(target: ObjectTarget, { checksum, path }: ObjectToVerify): Promise<StoredObject> {
  if (statSync(path).size <= CONVERT_IN_MEMORY_BYTES) {
    const data = readFileSync(path);
    const small = data.length < 16 || data.readBigUInt64BE(8) <= INFLATE_IN_MEMORY_BYTES;
    if (small) return importFilez(target, checksum, data);
  }
  // importFilezFile takes its file away: it gets one of its own.
  const own = join(target.staging, `.copy-${checksum}`);
  rmSync(own, { force: true });
  if (!tryLink(path, own)) copy(path, own);
  return importFilezFile(target, checksum, own);
}

/**
 * Files of a bare-user repository with nothing in their metadata that a bare-user-only one could not keep are the same
 * files there (`import_is_bareuser_only_conversion`).
 */
function linkFromBareUser(target: ObjectTarget, { checksum, path }: ObjectToVerify, header: FileHeader): boolean {
  if ((header.mode & S_IFMT) === S_IFLNK || (lstatSync(path).mode & 0o7777) !== (header.mode & 0o7777)) return false;
  assertStorable(target, header, checksum);
  return tryLink(path, join(target.staging, `${checksum}.file`));
}

/** Stores a bare object in a repository of another mode. */
async function convert(
  target: ObjectTarget,
  { checksum, path }: ObjectToVerify,
  { from, link, verify }: CopyOptions,
): Promise<StoredObject> {
  const object = `${checksum}.file`;
  const { header, size } = readBareObject(from, path, object);
  if (link && from.mode === 'bare-user' && target.mode === 'bare-user-only') {
    if (linkFromBareUser(target, { type: 'file', checksum, path }, header)) {
      if (verify) await assertStaged(target, 'file', checksum);
      return { checksum, size, written: size };
    }
  }
  const isLink = (header.mode & S_IFMT) === S_IFLNK;
  const stored = isLink
    ? storeBuffer(target, header, new Uint8Array(0))
    : storeFile(target, { path, uid: header.uid, gid: header.gid, mode: header.mode, size, xattrs: header.xattrs });
  if (stored.checksum === checksum) return stored;
  if (verify || stored.deferred || stored.written === 0) throw corruptedObject('file', checksum, stored.checksum);
  // Whoever asked for it to be trusted gets it as it is.
  const staged = (name: Checksum) => join(target.staging, `${name}.${fileExtension(target.mode)}`);
  renameSync(staged(stored.checksum), staged(checksum));
  return { ...stored, checksum };
}
