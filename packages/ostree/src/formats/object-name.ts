import { OstreeError } from '../errors.ts';

/** A SHA-256 as 64 lower-case hexadecimal digits. */
export type Checksum = string;

/** The kinds of object, named by their file extension (`ostree_object_type_to_string`). `filez` is a `file` as archive repositories store it. */
export type ObjectType = 'commit' | 'dirtree' | 'dirmeta' | 'file' | 'commitmeta' | 'tombstone-commit';

/** A directory with everything below it: the checksums of its dirtree and of its own dirmeta. */
export interface Tree {
  readonly contents: Checksum;
  readonly meta: Checksum;
}

const HEX64 = /^[0-9a-f]{64}$/;

/** Whether a text is 64 lower-case hexadecimal digits. */
export function isChecksum(text: string): boolean {
  return HEX64.test(text);
}

export function assertChecksum(text: string, what = 'checksum'): Checksum {
  if (!isChecksum(text)) {
    throw new OstreeError('invalid', `${what} ${JSON.stringify(text.slice(0, 80))} is not 64 hexadecimal digits`);
  }
  return text;
}

/** A checksum from the 32 bytes in which objects store it. */
export function checksumFromBytes(bytes: Uint8Array, what: string): Checksum {
  if (bytes.length !== 32) {
    throw new OstreeError('corrupt', `${what}: a checksum of ${bytes.length} bytes instead of 32`, { object: what });
  }
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('hex');
}

export function checksumToBytes(checksum: Checksum): Buffer {
  return Buffer.from(checksum, 'hex');
}

/**
 * The error, in libostree's words, for bytes that are not the object that they are said to be.
 *
 * @param object how it is named where it was found, if not by its type
 */
export function corruptedObject(
  type: ObjectType,
  checksum: Checksum,
  actual: Checksum,
  object = `${checksum}.${type}`,
  offset = 0,
): OstreeError {
  const message = `${object}: Corrupted ${type} object; checksum expected='${checksum}' actual='${actual}'`;
  return new OstreeError('corrupt', message, { object, offset });
}

/** `<2 hex>/<62 hex>.<extension>`: where an object lies below `objects/`. */
export function loosePath(checksum: Checksum, extension: string): string {
  return `${checksum.slice(0, 2)}/${checksum.slice(2)}.${extension}`;
}

/**
 * Orders names as strcmp does on their UTF-8 bytes, which is the order in which dirtrees and summaries are
 * sorted. UTF-16 order is the same but for surrogate pairs, which come before U+E000 there and after U+FFFF here.
 */
export function compareNames(a: string, b: string): number {
  const length = Math.min(a.length, b.length);
  for (let at = 0; at < length; at++) {
    const [x, y] = [a.charCodeAt(at), b.charCodeAt(at)];
    if (x === y) continue;
    return x >= 0xd800 && y >= 0xd800 ? inUtf8Order(x) - inUtf8Order(y) : x - y;
  }
  return a.length - b.length;
}

function inUtf8Order(unit: number): number {
  return unit >= 0xe000 ? unit - 0x800 : unit + 0x2000;
}
