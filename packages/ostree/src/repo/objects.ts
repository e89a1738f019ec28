import { hash } from 'node:crypto';
import { createReadStream, existsSync, lstatSync } from 'node:fs';
import { open, readFile } from 'node:fs/promises';
import { Readable } from 'node:stream';
import { OstreeError, systemCode } from '../errors.ts';
import { type Commit, decodeCommit, type Metadata } from '../formats/commit.ts';
import { type DirMeta, decodeDirMeta } from '../formats/dirmeta.ts';
import { type DirTree, decodeDirTree } from '../formats/dirtree.ts';
import { decodeFilezHeader, type FileHeader, filezHeaderLength } from '../formats/file.ts';
import { S_IFLNK } from '../formats/mode.ts';
import { assertChecksum, type Checksum, corruptedObject, loosePath, type ObjectType } from '../formats/object-name.ts';
import { decode } from '../gvariant/decode.ts';
import { readBareObject } from '../work/bare-object.ts';
import { inflatedContent } from './inflated-content.ts';
import { fileExtension, type Repo, type RepoMode } from './repo.ts';

/** Where an object of this repository is, or would be. */
export function objectPath(repo: Repo, type: ObjectType, checksum: Checksum): string {
  const extension = type === 'file' ? fileExtension(repo.mode) : type;
  return `${repo.path}/objects/${loosePath(checksum, extension)}`;
}

/** Whether this repository, or its parent, has an object. It is not read. */
export function hasObject(repo: Repo, type: ObjectType, checksum: Checksum): boolean {
  return (
    isThere(objectPath(repo, type, checksum), repo.mode) ||
    (repo.parent !== undefined && hasObject(repo.parent, type, checksum))
  );
}

/**
 * Whether there is an object file at this path. A bare-user-only repository stores a symlink as one, which may well
 * lead nowhere, so that it must not be followed.
 */
export function isThere(path: string, mode: RepoMode): boolean {
  return mode === 'archive' ? existsSync(path) : lstatSync(path, { throwIfNoEntry: false }) !== undefined;
}

/** More than any dirtree of sane size; a client must not be made to load more than this as metadata. */
export const MAX_METADATA_BYTES = 128 * 1024 * 1024;

/**
 * The bytes of a metadata object, checked against its name.
 *
 * @throws OstreeError `not-found`, or `corrupt` when the bytes are not those that the name stands for
 */
export async function readMetadata(
  repo: Repo,
  type: 'commit' | 'dirtree' | 'dirmeta',
  checksum: Checksum,
): Promise<Buffer> {
  assertChecksum(checksum);
  const path = objectPath(repo, type, checksum);
  if (repo.parent && !existsSync(path)) return readMetadata(repo.parent, type, checksum);
  const data = await readObjectFile(path, `${checksum}.${type}`, repo);
  assertHash(data, checksum, type);
  return data;
}

async function readObjectFile(path: string, object: string, repo: Repo): Promise<Buffer> {
  try {
    return await readFile(path);
  } catch (cause) {
    if (systemCode(cause) === 'ENOENT') {
      throw new OstreeError('not-found', `${repo.path}: No such metadata object ${object}`, { object, cause });
    }
    throw new OstreeError('io', `${path}: ${(cause as Error).message}`, { object, cause });
  }
}

/** Throws `corrupt` unless these bytes have this SHA-256. */
export function assertHash(data: Uint8Array, checksum: Checksum, type: ObjectType): void {
  const actual = hash('sha256', data);
  if (actual !== checksum) throw corruptedObject(type, checksum, actual);
}

/** Reads a commit. Throws `not-found` or `corrupt`. */
export async function readCommit(repo: Repo, checksum: Checksum): Promise<Commit> {
  return decodeCommit(await readMetadata(repo, 'commit', checksum), `${checksum}.commit`);
}

/** Reads what is in a folder. Throws `not-found` or `corrupt`. */
export async function readDirTree(repo: Repo, checksum: Checksum): Promise<DirTree> {
  return decodeDirTree(await readMetadata(repo, 'dirtree', checksum), `${checksum}.dirtree`);
}

/** Reads the attributes of a folder. Throws `not-found` or `corrupt`. */
export async function readDirMeta(repo: Repo, checksum: Checksum): Promise<DirMeta> {
  return decodeDirMeta(await readMetadata(repo, 'dirmeta', checksum), `${checksum}.dirmeta`);
}

/** Metadata about a commit that is no part of it, such as signatures; null when there is none. */
export async function readDetachedMetadata(repo: Repo, commit: Checksum): Promise<Metadata | null> {
  try {
    const data = await readFile(objectPath(repo, 'commitmeta', assertChecksum(commit)));
    return decode('a{sv}', data, { object: `${commit}.commitmeta` }) as unknown as Metadata;
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return null;
    throw error;
  }
}

/** A content object, opened. */
export interface StoredFile {
  header: FileHeader;
  /** Bytes of content. */
  size: number;
  /** The content; empty for a symlink. Not checked against the checksum: see fsck. */
  content(): Readable;
}

/** Opens a content object. Throws `not-found` or `corrupt`. */
export async function readFileObject(repo: Repo, checksum: Checksum): Promise<StoredFile> {
  assertChecksum(checksum);
  const path = objectPath(repo, 'file', checksum);
  if (repo.parent && !isThere(path, repo.mode)) return readFileObject(repo.parent, checksum);
  try {
    return await (repo.mode === 'archive' ? readFilez(path, checksum) : readBare(repo, path, checksum));
  } catch (cause) {
    if (systemCode(cause) !== 'ENOENT') throw cause;
    const object = `${checksum}.file`;
    throw new OstreeError('not-found', `${repo.path}: Couldn't find file object '${checksum}'`, { object, cause });
  }
}

async function readFilez(path: string, checksum: Checksum): Promise<StoredFile> {
  const object = `${checksum}.filez`;
  const handle = await open(path);
  try {
    const start = Buffer.alloc(4096);
    const { bytesRead } = await handle.read(start, 0, start.length, 0);
    let data = start.subarray(0, bytesRead);
    const length = filezHeaderLength(data, object);
    if (length > data.length) {
      data = Buffer.alloc(length);
      const more = await handle.read(data, 0, length, 0);
      data = data.subarray(0, more.bytesRead);
    }
    const { header, size, bodyOffset } = decodeFilezHeader(data, object);
    const content = (): Readable => {
      if ((header.mode & S_IFLNK) === S_IFLNK) return Readable.from([]);
      return inflatedContent(path, { checksum, size, bodyOffset });
    };
    return { header, size, content };
  } finally {
    await handle.close();
  }
}

function readBare(repo: Repo, path: string, checksum: Checksum): StoredFile {
  const { header, size } = readBareObject(repo, path, `${checksum}.file`);
  const content = () => (size === 0 ? Readable.from([]) : createReadStream(path));
  return { header, size, content };
}
