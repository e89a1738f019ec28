import { hash } from 'node:crypto';
import { OstreeError } from '../errors.ts';
import type { Metadata } from '../formats/commit.ts';
import { type Checksum, checksumFromBytes, checksumToBytes } from '../formats/object-name.ts';
import { decode } from '../gvariant/decode.ts';
import { encode, type Value, type Variant } from '../gvariant/encode.ts';
import { deltaFolder } from './names.ts';

/**
 * What a delta can hold, with the numbers that stand for it (`OstreeObjectType`). A part with a commit, which nothing
 * makes, is refused: a commit that is there has to be whole.
 */
export type DeltaObjectType = 'file' | 'dirtree' | 'dirmeta';

const TYPES: readonly (DeltaObjectType | undefined)[] = [undefined, 'file', 'dirtree', 'dirmeta'];

/** An object that a delta makes or needs. */
export interface DeltaObject {
  readonly type: DeltaObjectType;
  readonly checksum: Checksum;
}

/** A part of a delta: a file beside the superblock, named by its number, or bytes inside it. */
export interface DeltaPart {
  /** SHA-256 of the part file, its first byte included. */
  readonly checksum: Checksum;
  /** Bytes of the part file. */
  readonly size: number;
  /** Bytes of content of the objects that it makes. */
  readonly unpackedSize: number;
  /** What it makes, in this order. */
  readonly objects: readonly DeltaObject[];
  /** The part file itself, where the superblock holds it; a view of the superblock. */
  readonly inline: Uint8Array | null;
}

/** An object that a delta leaves to be fetched by itself. */
export interface DeltaFallback extends DeltaObject {
  /** Bytes as an archive repository serves it. */
  readonly size: number;
  readonly unpackedSize: number;
}

/** What a delta says of itself: from where to where, with which parts. */
export interface Superblock {
  /** Everything in the metadata, parts and detached metadata included, in stored order. */
  readonly metadata: Metadata;
  /** Seconds since 1970 at which the delta was made. */
  readonly timestamp: number;
  readonly from: Checksum | null;
  readonly to: Checksum;
  /** The commit object `to`; its hash has been checked. */
  readonly commit: Uint8Array;
  /** Detached metadata of the commit, if the delta carries any. */
  readonly commitMetadata: Metadata | null;
  /** Number of deltas that have to be applied before; libostree never writes any. */
  readonly parents: number;
  readonly parts: readonly DeltaPart[];
  readonly fallbacks: readonly DeltaFallback[];
  /** Byte order of sizes and versions; `invalid` where nothing says and nothing shows it: read as little. */
  readonly endianness: 'little' | 'big' | 'invalid';
  /** The byte order was guessed from the sizes: deltas made before 2016 do not say. */
  readonly guessed: boolean;
  /** Set for a signed superblock: signatures as in detached metadata, and the bytes that they are over. */
  readonly signed: { readonly signatures: Metadata; readonly data: Uint8Array } | null;
}

/** `OSTREE_STATIC_DELTA_SUPERBLOCK_FORMAT` in ostree-repo-static-delta-private.h. */
const FORMAT = '(a{sv}tayay(a{sv}aya(say)sstayay)aya(uayttay)a(yaytt))';
/** `OSTREE_STATIC_DELTA_SIGNED_FORMAT`, which begins with the bytes `OSTSGNDT`. */
const SIGNED_FORMAT = '(taya{sv})';
const SIGNED_MAGIC = Buffer.from('OSTSGNDT');
const ENDIANNESS = 'ostree.endianness';
/** `OSTREE_DELTAPART_VERSION`. */
const PART_VERSION = 0;
/** Type byte and checksum (`OSTREE_STATIC_DELTA_OBJTYPE_CSUM_LEN`). */
const OBJECT_BYTES = 33;
const COMMIT_FORMAT = '(a{sv}aya(say)sstayay)';

type RawPart = [version: number, checksum: Uint8Array, size: bigint, unpacked: bigint, objects: Uint8Array];
type RawFallback = [type: number, checksum: Uint8Array, size: bigint, unpacked: bigint];

/** How errors name what is read. */
export interface DecodeSuperblockOptions {
  /** Said in errors. Default `superblock`. */
  object?: string;
}

/**
 * Reads a superblock, signed or not; signatures are not verified here. The result refers to views of `data`.
 *
 * @throws OstreeError `corrupt` for everything that is malformed, for wrong lengths and for a commit that is not what
 *   the delta leads to; `unsupported` for a version or an object type of the future
 */
export function decodeSuperblock(data: Uint8Array, options: DecodeSuperblockOptions = {}): Superblock {
  const object = options.object ?? 'superblock';
  if (isSigned(data)) {
    const [, inner, signatures] = decode(SIGNED_FORMAT, data, { object }) as unknown as [bigint, Uint8Array, Metadata];
    if (isSigned(inner)) throw corrupt(object, 'a signed superblock inside a signed superblock');
    return { ...decodePlain(inner, object), signed: { signatures, data: inner } };
  }
  return decodePlain(data, object);
}

/** Whether this is a signed superblock, by its first eight bytes. */
export function isSigned(data: Uint8Array): boolean {
  return Buffer.compare(data.subarray(0, SIGNED_MAGIC.length), SIGNED_MAGIC) === 0;
}

function decodePlain(data: Uint8Array, object: string): Superblock {
  const [metadata, time, fromBytes, toBytes, commitValue, recursion, rawParts, rawFallbacks] = decode(FORMAT, data, {
    object,
  }) as unknown as [Metadata, bigint, Uint8Array, Uint8Array, Value, Uint8Array, RawPart[], RawFallback[]];
  const from = fromBytes.length === 0 ? null : checksumFromBytes(fromBytes, `${object}: source commit`);
  const to = checksumFromBytes(toBytes, `${object}: target commit`);
  if (recursion.length % 64 !== 0) throw corrupt(object, `a list of parents of ${recursion.length} bytes`);
  const keys = new Map(metadata);
  if (keys.size !== metadata.length) throw corrupt(object, 'a metadata key that is there twice');
  const sizes = [...rawParts, ...rawFallbacks].flatMap(([, , bytes, unpacked]) => [bytes, unpacked]);
  const { endianness, guessed } = byteOrder(keys.get(ENDIANNESS), sizes, object);
  const swapped = endianness === 'big';
  const folder = deltaFolder(from, to);
  const detached = keys.get(`${folder}/commitmeta`);
  if (detached && detached.type !== 'a{sv}') throw corrupt(object, 'detached metadata of another type');
  return {
    metadata,
    timestamp: size(time, true, object),
    from,
    to,
    commit: commitBytes(commitValue, to, object),
    commitMetadata: (detached?.value as unknown as Metadata | undefined) ?? null,
    parents: recursion.length / 64,
    parts: rawParts.map((part, index) => decodePart(part, keys.get(`${folder}/${index}`), swapped, object, index)),
    fallbacks: rawFallbacks.map((fallback) => decodeFallback(fallback, swapped, object)),
    endianness,
    guessed,
    signed: null,
  };
}

/** The commit in its own bytes: there is only one way to spell a value in normal form, which decode has insisted on. */
function commitBytes(value: Value, to: Checksum, object: string): Uint8Array {
  const bytes = encode(COMMIT_FORMAT, value);
  const actual = hash('sha256', bytes);
  if (actual !== to) throw corrupt(object, `its commit has the checksum ${actual} instead of ${to}`);
  return bytes;
}

function decodePart(
  [rawVersion, checksum, bytes, unpacked, objects]: RawPart,
  inline: Variant | undefined,
  swapped: boolean,
  object: string,
  index: number,
): DeltaPart {
  const what = `${object}: part ${index}`;
  const version = swapped ? swap32(rawVersion) : rawVersion;
  if (version > PART_VERSION) throw new OstreeError('unsupported', `Delta part has too new version ${version}`);
  if (objects.length % OBJECT_BYTES !== 0) throw corrupt(what, `Invalid checksum array length ${objects.length}`);
  const list: DeltaObject[] = [];
  for (let at = 0; at < objects.length; at += OBJECT_BYTES) {
    list.push({
      type: objectType(objects[at]!, what),
      checksum: checksumFromBytes(objects.subarray(at + 1, at + OBJECT_BYTES), what),
    });
  }
  let bytesInline: Uint8Array | null = null;
  if (inline) {
    if (inline.type !== '(yay)') throw corrupt(what, 'an inline part of another type');
    const [, body] = inline.value as unknown as [number, Uint8Array];
    // In the superblock the compression byte comes right before the rest, just as in a part file.
    bytesInline = new Uint8Array(body.buffer, body.byteOffset - 1, body.byteLength + 1);
  }
  return {
    checksum: checksumFromBytes(checksum, what),
    size: size(bytes, swapped, what),
    unpackedSize: size(unpacked, swapped, what),
    objects: list,
    inline: bytesInline,
  };
}

function decodeFallback([type, checksum, bytes, unpacked]: RawFallback, swapped: boolean, object: string) {
  const what = `${object}: fallback`;
  return {
    type: objectType(type, what),
    checksum: checksumFromBytes(checksum, what),
    size: size(bytes, swapped, what),
    unpackedSize: size(unpacked, swapped, what),
  };
}

function objectType(number: number, what: string): DeltaObjectType {
  const type = TYPES[number];
  if (!type) throw new OstreeError('unsupported', `${what}: objects of type ${number} are not known`);
  return type;
}

function size(value: bigint, swapped: boolean, what: string): number {
  const number = Number(swapped ? swap64(value) : value);
  if (!Number.isSafeInteger(number)) throw corrupt(what, 'an absurd size or time');
  return number;
}

/** Nothing that a delta counts in bytes comes near to it; in the wrong byte order nearly everything exceeds it. */
const ABSURD = 1n << 48n;

/**
 * What the superblock says, or else the order in which no size is absurd. libostree's guess
 * (`_ostree_delta_get_endianness`) goes by the ratio of sizes, which small parts get wrong.
 */
function byteOrder(
  mark: Variant | undefined,
  sizes: readonly bigint[],
  object: string,
): Pick<Superblock, 'endianness' | 'guessed'> {
  if (mark?.type === 'y') {
    if (mark.value === 0x6c) return { endianness: 'little', guessed: false };
    if (mark.value === 0x42) return { endianness: 'big', guessed: false };
    throw corrupt(object, 'a byte order that is neither little nor big');
  }
  const little = sizes.every((value) => value < ABSURD);
  const big = sizes.every((value) => swap64(value) < ABSURD);
  return { endianness: little === big ? 'invalid' : little ? 'little' : 'big', guessed: true };
}

/** What goes into a superblock. Parts are written inline where they have `inline`. */
export interface NewSuperblock {
  /** Comes first in the file. */
  metadata?: Metadata;
  timestamp: number;
  from: Checksum | null;
  to: Checksum;
  commit: Uint8Array;
  commitMetadata: Metadata | null;
  parts: readonly DeltaPart[];
  fallbacks: readonly DeltaFallback[];
  endianness: 'little' | 'big';
}

/** Serialises a superblock. */
export function encodeSuperblock(superblock: NewSuperblock): Buffer {
  const { from, to, commitMetadata, endianness } = superblock;
  const big = endianness === 'big';
  const folder = deltaFolder(from, to);
  const integer = (value: number) => (big ? swap64(BigInt(value)) : BigInt(value));
  const metadata: [string, Variant][] = [
    ...(superblock.metadata ?? []).map(([key, value]): [string, Variant] => [key, value]),
    [ENDIANNESS, { type: 'y', value: big ? 0x42 : 0x6c }],
  ];
  for (const [index, { inline }] of superblock.parts.entries()) {
    if (inline) {
      metadata.push([`${folder}/${index}`, { type: '(yay)', value: [inline[0]!, inline.subarray(1)] }]);
    }
  }
  if (commitMetadata) metadata.push([`${folder}/commitmeta`, { type: 'a{sv}', value: commitMetadata }]);
  return encode(FORMAT, [
    metadata,
    swap64(BigInt(superblock.timestamp)),
    from === null ? new Uint8Array(0) : checksumToBytes(from),
    checksumToBytes(to),
    decode(COMMIT_FORMAT, superblock.commit, { object: `${to}.commit` }),
    new Uint8Array(0),
    superblock.parts.map((part) => [
      big ? swap32(PART_VERSION) : PART_VERSION,
      checksumToBytes(part.checksum),
      integer(part.size),
      integer(part.unpackedSize),
      objectList(part.objects),
    ]),
    superblock.fallbacks.map((fallback) => [
      TYPES.indexOf(fallback.type),
      checksumToBytes(fallback.checksum),
      integer(fallback.size),
      integer(fallback.unpackedSize),
    ]),
  ]);
}

/** Wraps an encoded superblock with signatures of exactly its bytes. Clients can then not use it over HTTP. */
export function encodeSignedSuperblock(data: Uint8Array, signatures: Metadata): Buffer {
  return encode(SIGNED_FORMAT, [SIGNED_MAGIC.readBigUInt64LE(), data, signatures]);
}

function objectList(objects: readonly DeltaObject[]): Buffer {
  const list = Buffer.alloc(objects.length * OBJECT_BYTES);
  for (const [index, { type, checksum }] of objects.entries()) {
    list[index * OBJECT_BYTES] = TYPES.indexOf(type);
    list.write(checksum, index * OBJECT_BYTES + 1, 'hex');
  }
  return list;
}

function swap32(value: number): number {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value);
  return bytes.readUInt32BE();
}

function swap64(value: bigint): bigint {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64LE(value);
  return bytes.readBigUInt64BE();
}

function corrupt(object: string, what: string): OstreeError {
  return new OstreeError('corrupt', `${object}: ${what}`, { object });
}
