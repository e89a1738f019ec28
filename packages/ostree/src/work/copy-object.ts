import {
  chmodSync,
  constants,
  copyFileSync,
  linkSync,
  lstatSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
  symlinkSync,
} from 'node:fs';
import { join } from 'node:path';
import { OstreeError, systemCode } from '../errors.ts';
import { S_IFMT, S_IFREG } from '../formats/mode.ts';
import type { RepoMode } from '../repo/repo.ts';
import { importFilez, importFilezFile } from './import-object.ts';
import { isStored, type ObjectTarget, type StoredObject, storeFile } from './store-file.ts';
import { type ObjectToVerify, verifyObject } from './verify-object.ts';

export interface CopyOptions {
  /** Mode of the repository that the objects are in. */
  from: RepoMode;
  /** Hard-link where the modes are the same and the file system allows it: objects never change. */
  link: boolean;
  /** Hash what is taken over as it is. What is converted is always hashed. */
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
    if (type !== 'file' || options.from === target.mode) return await takeOver(target, object, options);
    return options.from === 'archive' ? await unpack(target, object) : pack(target, object);
  } catch (cause) {
    if (systemCode(cause) !== 'ENOENT') throw cause;
    const name = `${checksum}.${type}`;
    throw new OstreeError('not-found', `${object.path}: no object ${name}`, { object: name, cause });
  }
}

async function takeOver(target: ObjectTarget, object: ObjectToVerify, options: CopyOptions): Promise<StoredObject> {
  const { type, checksum, path } = object;
  const extension = type !== 'file' ? type : target.mode === 'archive' ? 'filez' : 'file';
  const staged = join(target.staging, `${checksum}.${extension}`);
  if (!(options.link && tryLink(path, staged))) copy(path, staged);
  if (options.verify) {
    // What is in staging is what is hashed, so that nothing can change in between.
    const damage = await verifyObject(target.mode, { type, checksum, path: staged });
    if (damage) {
      rmSync(staged, { force: true });
      throw new OstreeError('corrupt', damage.message, { object: `${checksum}.${extension}`, offset: 0 });
    }
  }
  const { size } = lstatSync(staged);
  return { checksum, size, written: size };
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
  const stats = lstatSync(path);
  if (stats.isSymbolicLink()) {
    rmSync(staged, { force: true });
    symlinkSync(readlinkSync(path), staged);
    return;
  }
  copyFileSync(path, staged, constants.COPYFILE_FICLONE);
  chmodSync(staged, stats.mode & 0o777);
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

function pack(target: ObjectTarget, { checksum, path }: ObjectToVerify): StoredObject {
  const { mode, size } = lstatSync(path);
  const isFile = (mode & S_IFMT) === S_IFREG;
  const stored = storeFile(target, { path, uid: 0, gid: 0, mode: isFile ? mode : 0o120777, size, xattrs: [] });
  if (stored.checksum === checksum) return stored;
  const object = `${checksum}.file`;
  throw new OstreeError('corrupt', `${object}: its content has the checksum ${stored.checksum}`, { object, offset: 0 });
}
