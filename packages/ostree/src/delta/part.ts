import { OstreeError } from '../errors.ts';
import { assertXattrs } from '../formats/file.ts';
import type { Xattr } from '../fs/syscalls.ts';
import { decode } from '../gvariant/decode.ts';
import { encode } from '../gvariant/encode.ts';

/** Owner and permissions of files of a part. */
export interface PartMode {
  uid: number;
  gid: number;
  /** st_mode. */
  mode: number;
}

/** What a part says, unpacked. */
export interface PartPayload {
  modes: readonly PartMode[];
  /** Sets of extended attributes. */
  xattrs: readonly (readonly Xattr[])[];
  /** What operations take bytes from. */
  blob: Uint8Array;
  operations: Uint8Array;
}

/** More than the attributes of any system take; a bound for what is made of a hostile part. */
const MAX_XATTR_BYTES = 8 * 1024 * 1024;

/**
 * Reads a part's payload (`OSTREE_STATIC_DELTA_PART_PAYLOAD_FORMAT_V0`, `(a(uuu)aa(ayay)ayay)`; the integers of modes
 * are big-endian). Byte strings are views of `data`.
 *
 * @param objects how many objects the part makes: it cannot have more modes or sets of attributes than that
 * @throws OstreeError `corrupt`
 */
export function decodePayload(data: Uint8Array, objects: number, object: string): PartPayload {
  const bad = (why: string) => new OstreeError('corrupt', `${object}: ${why}`, { object });
  // The tuple by hand: what its tables hold is looked at only after their lengths.
  const buffer = Buffer.from(data.buffer, data.byteOffset, data.byteLength);
  const width = offsetWidth(data.length, 0);
  const body = data.length - 3 * width;
  if (body < 0) throw bad(`a payload of ${data.length} bytes`);
  const end = (index: number) => buffer.readUIntLE(body + (2 - index) * width, width);
  const ends = [end(0), end(1), end(2)] as const;
  if (ends[0] > ends[1] || ends[1] > ends[2] || ends[2] > body) throw bad('framing offsets out of order');
  if (offsetWidth(body, 3) !== width) throw bad('framing offsets wider than needed');
  const [modeBytes, xattrBytes] = [data.subarray(0, ends[0]), data.subarray(ends[0], ends[1])];
  if (modeBytes.length > 12 * objects) throw bad(`more modes than its ${objects} objects`);
  if (xattrBytes.length > MAX_XATTR_BYTES) throw bad(`extended attributes of ${xattrBytes.length} bytes`);
  const modes = decode('a(uuu)', modeBytes, { object }) as unknown as [number, number, number][];
  const xattrs = decode('aa(ayay)', xattrBytes, { object }) as unknown as [Uint8Array, Uint8Array][][];
  if (xattrs.length > objects) throw bad(`more sets of attributes than its ${objects} objects`);
  return {
    modes: modes.map(([uid, gid, mode]) => ({ uid: swap(uid), gid: swap(gid), mode: swap(mode) })),
    xattrs: xattrs.map((set) => assertXattrs(set, object)),
    blob: data.subarray(ends[1], ends[2]),
    operations: data.subarray(ends[2], body),
  };
}

/** Bytes of each of `count` framing offsets behind a body of `body` bytes. */
function offsetWidth(body: number, count: number): 1 | 2 | 4 {
  for (const width of [1, 2, 4] as const) if (body + count * width <= 2 ** (8 * width) - 1) return width;
  throw new OstreeError('unsupported', `a delta part of ${body} bytes is too large`);
}

/** What a payload consists of but for its blob. */
export interface PayloadTables {
  modes: readonly PartMode[];
  xattrs: readonly (readonly Xattr[])[];
  operations: Uint8Array;
}

/** Serialises a payload but for its blob, which is for the caller to fill in: it is copied no more often than that. */
export function encodePayload(tables: PayloadTables, blobLength: number): { data: Buffer; blob: Uint8Array } {
  const modes = encode(
    'a(uuu)',
    tables.modes.map(({ uid, gid, mode }) => [swap(uid), swap(gid), swap(mode)]),
  );
  const xattrs = encode(
    'aa(ayay)',
    tables.xattrs.map((set) => set.map(([name, value]) => [Buffer.concat([name, Buffer.alloc(1)]), value])),
  );
  const blobStart = modes.length + xattrs.length;
  const blobEnd = blobStart + blobLength;
  const body = blobEnd + tables.operations.length;
  const width = offsetWidth(body, 3);
  const data = Buffer.allocUnsafeSlow(body + 3 * width);
  data.set(modes, 0);
  data.set(xattrs, modes.length);
  data.set(tables.operations, blobEnd);
  // A tuple's framing offsets: ends of all but the last member, the last first.
  for (const [index, end] of [blobEnd, blobStart, modes.length].entries()) {
    data.writeUIntLE(end, body + index * width, width);
  }
  return { data, blob: data.subarray(blobStart, blobEnd) };
}

function swap(value: number): number {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value);
  return bytes.readUInt32BE();
}
