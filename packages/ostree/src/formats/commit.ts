import { OstreeError } from '../errors.ts';
import { decode } from '../gvariant/decode.ts';
import { encode, type Variant } from '../gvariant/encode.ts';
import { type Checksum, checksumFromBytes, checksumToBytes, type Tree } from './object-name.ts';

/** Metadata of a commit, in stored order: the order is part of the commit's checksum. */
export type Metadata = readonly (readonly [key: string, value: Variant])[];

/** What a commit object says. */
export interface Commit {
  metadata: Metadata;
  parent: Checksum | null;
  subject: string;
  body: string;
  /** Seconds since 1970, UTC. */
  timestamp: number;
  tree: Tree;
}

/** `OSTREE_COMMIT_GVARIANT_FORMAT`: metadata parent related subject body time(big-endian) dirtree dirmeta. */
const FORMAT = '(a{sv}aya(say)sstayay)';

export function encodeCommit(commit: Commit): Buffer {
  return encode(FORMAT, [
    commit.metadata,
    commit.parent === null ? Buffer.alloc(0) : checksumToBytes(commit.parent),
    [],
    commit.subject,
    commit.body,
    swap(BigInt.asUintN(64, BigInt(commit.timestamp))),
    checksumToBytes(commit.tree.contents),
    checksumToBytes(commit.tree.meta),
  ]);
}

export function decodeCommit(data: Uint8Array, object: string): Commit {
  const [metadata, parent, , subject, body, timestamp, contents, meta] = decode(FORMAT, data, { object }) as [
    [string, Variant][],
    Uint8Array,
    unknown,
    string,
    string,
    bigint,
    Uint8Array,
    Uint8Array,
  ];
  const seconds = Number(BigInt.asIntN(64, swap(timestamp))); // of before 1970, it is below zero
  if (!Number.isSafeInteger(seconds)) throw new OstreeError('corrupt', `${object}: an absurd time`, { object });
  return {
    metadata,
    parent: parent.length === 0 ? null : checksumFromBytes(parent, object),
    subject,
    body,
    timestamp: seconds,
    tree: { contents: checksumFromBytes(contents, object), meta: checksumFromBytes(meta, object) },
  };
}

/** A metadata value by its key. */
export function metadataValue(metadata: Metadata, key: string): Variant | undefined {
  return metadata.find(([name]) => name === key)?.[1];
}

/** Big-endian to little-endian and back, 64 bits. */
export function swap(value: bigint): bigint {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64LE(value);
  return bytes.readBigUInt64BE();
}
