import { closeSync, openSync, readSync } from 'node:fs';
import { decodeFilezHeader, type FileHeader, type FilezHeader, filezHeaderLength } from '../formats/file.ts';
import type { Checksum } from '../formats/object-name.ts';
import type { ObjectFormat } from '../repo/repo.ts';
import { readBareObject } from './bare-object.ts';

/** Everything about a stored file but its content. */
export interface ObjectHeader {
  header: FileHeader;
  /** Bytes of content, unpacked; 0 for a symlink. */
  size: number;
}

/**
 * Reads what a content object of any mode says about its file, and nothing of its content.
 *
 * @param path of the object file
 * @throws ENOENT; OstreeError `corrupt`
 */
export function readObjectHeader(format: ObjectFormat, path: string, checksum: Checksum): ObjectHeader {
  if (format.mode !== 'archive') return readBareObject(format, path, `${checksum}.file`);
  return readFilezHeader(path, `${checksum}.filez`);
}

const START_BYTES = 512;
/** Its content is of use until the next call only. */
const start = Buffer.alloc(START_BYTES);

/** Reads the header of a filez. */
export function readFilezHeader(path: string, object: string): FilezHeader {
  const fd = openSync(path, 'r');
  try {
    const first = start.subarray(0, readSync(fd, start, 0, START_BYTES, 0));
    const length = filezHeaderLength(first, object);
    if (length <= first.length) return decodeFilezHeader(Buffer.from(first.subarray(0, length)), object);
    const data = Buffer.alloc(length);
    return decodeFilezHeader(data.subarray(0, readSync(fd, data, 0, length, 0)), object);
  } finally {
    closeSync(fd);
  }
}
