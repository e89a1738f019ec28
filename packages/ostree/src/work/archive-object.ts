import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { encodeFileHeader, encodeFilezHeader } from '../formats/file.ts';
import { S_IFLNK, S_IFMT } from '../formats/mode.ts';
import { type Checksum, corruptedObject } from '../formats/object-name.ts';
import type { ObjectFormat } from '../repo/repo.ts';
import { readBareObject } from './bare-object.ts';
import { deflateRaw } from './deflate.ts';

/** A content object of a bare repository. */
export interface ObjectToArchive {
  checksum: Checksum;
  path: string;
}

/** The same as an archive repository has it. */
export interface ArchivedObject {
  checksum: Checksum;
  filez: Uint8Array;
}

/**
 * Makes the filez of a bare object of moderate size. It is hashed on the way: what has been changed in a bare repository
 * since it was committed is found here, and not by whoever gets it.
 *
 * @throws ENOENT; OstreeError `corrupt`
 */
export function archiveObject(
  format: ObjectFormat,
  { checksum, path }: ObjectToArchive,
  level: number,
): ArchivedObject {
  const { header } = readBareObject(format, path, `${checksum}.file`);
  const isLink = (header.mode & S_IFMT) === S_IFLNK;
  const content = isLink ? Buffer.alloc(0) : readFileSync(path);
  const actual = createHash('sha256').update(encodeFileHeader(header)).update(content).digest('hex');
  if (actual !== checksum) throw corruptedObject('file', checksum, actual);
  const head = encodeFilezHeader(header, content.length);
  return { checksum, filez: isLink ? head : Buffer.concat([head, deflateRaw(content, level)]) };
}
