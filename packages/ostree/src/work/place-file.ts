import { createHash, randomBytes } from 'node:crypto';
import { createReadStream, lstatSync, readlinkSync, renameSync, rmSync, type Stats } from 'node:fs';
import { dirname, join } from 'node:path';
import { OstreeError, systemCode } from '../errors.ts';
import { encodeFileHeader, type FileHeader } from '../formats/file.ts';
import { S_IFLNK, S_IFMT } from '../formats/mode.ts';
import type { Checksum } from '../formats/object-name.ts';
import { readXattrs } from '../fs/syscalls.ts';
import type { ObjectFormat } from '../repo/repo.ts';

/** What a checkout does with what is in its way. */
export interface Placement {
  /** Fail, replace it, leave it, or fail unless it is the same. */
  existing: 'refuse' | 'replace' | 'keep' | 'identical';
  /** Replace folders by files, too, as layers of container images do. */
  replaceFolders: boolean;
}

/** What is to be at a place. */
export interface WantedFile {
  checksum: Checksum;
  header: FileHeader;
  size: number;
  /** The file that it is going to be a link to. */
  linkTo?: string;
}

/**
 * Makes a file at a path. One that replaces another is made beside it and moved over it, so that there is always one.
 *
 * @param make makes the file at the path that it is given; throws EEXIST when there is something
 * @throws OstreeError `exists`
 */
export async function placeFile(
  format: ObjectFormat,
  { existing, replaceFolders }: Placement,
  to: string,
  wanted: WantedFile,
  make: (path: string) => void | Promise<void>,
): Promise<void> {
  try {
    await make(to);
    return;
  } catch (error) {
    if (systemCode(error) !== 'EEXIST') throw error;
  }
  if (existing === 'refuse') throw inTheWay(to);
  const there = lstatSync(to);
  if (existing === 'keep') {
    if (there.isDirectory()) throw inTheWay(to, 'a folder');
    return;
  }
  if (isLinkTo(there, wanted.linkTo)) return;
  if (existing === 'identical') {
    if (await isIdentical(format, to, there, wanted)) return;
    throw inTheWay(to);
  }
  if (there.isDirectory() && !replaceFolders) throw inTheWay(to, 'a folder');
  const temporary = join(dirname(to), `.treeline-${randomBytes(8).toString('hex')}`);
  try {
    await make(temporary);
    if (there.isDirectory()) rmSync(to, { recursive: true });
    renameSync(temporary, to);
  } catch (error) {
    rmSync(temporary, { force: true });
    throw error;
  }
}

function isLinkTo(there: Stats, linkTo: string | undefined): boolean {
  const object = linkTo === undefined ? undefined : lstatSync(linkTo);
  return object !== undefined && object.dev === there.dev && object.ino === there.ino;
}

/** Whether what is there would be stored as the same object. Of a symlink only its target counts. */
async function isIdentical(format: ObjectFormat, path: string, there: Stats, wanted: WantedFile): Promise<boolean> {
  const { header, size } = wanted;
  if ((header.mode & S_IFMT) === S_IFLNK) return there.isSymbolicLink() && readlinkSync(path) === header.symlinkTarget;
  if (!there.isFile() || there.size !== size) return false;
  const plain = format.mode === 'bare-user-only';
  const own: FileHeader = {
    uid: plain ? 0 : there.uid,
    gid: plain ? 0 : there.gid,
    mode: plain ? there.mode & (S_IFMT | 0o755) : there.mode,
    symlinkTarget: '',
    xattrs: plain || format.ignoreXattrs ? [] : readXattrs(path),
  };
  const hash = createHash('sha256').update(encodeFileHeader(own));
  for await (const chunk of createReadStream(path, { highWaterMark: 1 << 20 })) hash.update(chunk as Buffer);
  return hash.digest('hex') === wanted.checksum;
}

/** An error for something that a checkout must not replace. */
export function inTheWay(path: string, what?: string): OstreeError {
  return new OstreeError('exists', `${path}: File exists${what ? ` (${what})` : ''}`, {
    hint: 'Check out into a folder that does not exist, or say what to do with what is there (union).',
  });
}
