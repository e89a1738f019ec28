import { OstreeError } from '../errors.ts';
import type { Value, Variant } from '../gvariant/encode.ts';
import { type Checksum, checksumFromBytes, checksumToBytes, type ObjectType } from './object-name.ts';

/** What `ostree.sizes` of a commit says about one object. */
export interface ObjectSize {
  checksum: Checksum;
  type: ObjectType;
  /** Bytes in an archive repository, and unpacked; the same for metadata. */
  archived: number;
  unpacked: number;
}

/** `OstreeObjectType`. */
const TYPES: Record<number, ObjectType> = {
  1: 'file',
  2: 'dirtree',
  3: 'dirmeta',
  4: 'commit',
  5: 'tombstone-commit',
  6: 'commitmeta',
};

/**
 * The metadata value of `ostree commit --generate-sizes`: for each object its checksum, two varints and its type,
 * sorted by checksum (`add_size_index_to_metadata`).
 */
export function encodeSizes(sizes: readonly ObjectSize[]): Variant {
  const sorted = sizes.toSorted((a, b) => (a.checksum < b.checksum ? -1 : 1));
  const number = (type: ObjectType) => Number(Object.keys(TYPES).find((key) => TYPES[Number(key)] === type));
  const value = sorted.map(({ checksum, type, archived, unpacked }) =>
    Buffer.concat([checksumToBytes(checksum), varint(archived), varint(unpacked), Buffer.from([number(type)])]),
  );
  return { type: 'aay', value };
}

/** Throws `corrupt`, in libostree's words. Entries of old commits have no type: they are files. */
export function decodeSizes(value: Value): ObjectSize[] {
  return (value as Uint8Array[]).map((entry) => {
    const bytes = Buffer.from(entry.buffer, entry.byteOffset, entry.byteLength);
    const checksum = checksumFromBytes(bytes.subarray(0, 32), 'ostree.sizes');
    let at = 32;
    const next = () => {
      let number = 0;
      for (let scale = 1; ; scale *= 0x80) {
        const byte = bytes[at++];
        if (byte === undefined) throw new OstreeError('corrupt', 'Unexpected EOF reading ostree.sizes varint');
        number += (byte & 0x7f) * scale;
        if (number > Number.MAX_SAFE_INTEGER) throw new OstreeError('corrupt', 'ostree.sizes: an absurd size');
        if (byte < 0x80) return number;
      }
    };
    const archived = next();
    const unpacked = next();
    const type = TYPES[bytes[at] ?? 1];
    if (!type) throw new OstreeError('corrupt', `Unexpected ostree.sizes object type ${bytes[at]}`);
    return { checksum, type, archived, unpacked };
  });
}

/** Unsigned LEB128. */
function varint(value: number): Buffer {
  const bytes: number[] = [];
  let rest = value;
  for (; rest >= 0x80; rest = Math.floor(rest / 0x80)) bytes.push((rest % 0x80) | 0x80);
  return Buffer.from([...bytes, rest]);
}
