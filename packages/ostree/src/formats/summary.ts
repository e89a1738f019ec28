import { decode } from '../gvariant/decode.ts';
import { encode, type Value, type Variant } from '../gvariant/encode.ts';
import { swap } from './commit.ts';
import { type Checksum, checksumFromBytes, checksumToBytes, compareNames } from './object-name.ts';

export interface SummaryRef {
  commit: Checksum;
  /** Bytes of the commit object. Clients refuse a longer one, so it must be right. */
  size: number;
  /** Seconds since 1970, if the summary says. */
  timestamp: number | null;
  /** The commit's `version` metadata, if it has one and the summary says. */
  version?: string | null;
}

export interface Summary {
  refs: Map<string, SummaryRef>;
  metadata: readonly (readonly [string, Variant])[];
}

/** `OSTREE_SUMMARY_GVARIANT_FORMAT`; refs sorted, since clients search them by bisection. */
const FORMAT = '(a(s(taya{sv}))a{sv})';
const TIMESTAMP = 'ostree.commit.timestamp';
const VERSION = 'ostree.commit.version';

/** Serialises a summary. Commit sizes are little-endian, times big-endian, as libostree has them. */
export function encodeSummary({ refs, metadata }: Summary): Buffer {
  const sorted = [...refs].sort(([a], [b]) => compareNames(a, b));
  const list = sorted.map(([name, { commit, size, timestamp, version }]): Value => {
    const extra: Value[] = [];
    if (version) extra.push([VERSION, { type: 's', value: version }]);
    if (timestamp !== null) extra.push([TIMESTAMP, { type: 't', value: swap(BigInt(timestamp)) }]);
    return [name, [BigInt(size), checksumToBytes(commit), extra]];
  });
  return encode(FORMAT, [list, metadata]);
}

/** Reads a summary. Throws `corrupt`. */
export function decodeSummary(data: Uint8Array, object = 'summary'): Summary {
  const [list, metadata] = decode(FORMAT, data, { object }) as [
    [string, [bigint, Uint8Array, [string, Variant][]]][],
    [string, Variant][],
  ];
  const refs = new Map<string, SummaryRef>();
  for (const [name, [size, checksum, extra]] of list) {
    const time = extra.find(([key]) => key === TIMESTAMP)?.[1];
    const version = extra.find(([key]) => key === VERSION)?.[1];
    refs.set(name, {
      commit: checksumFromBytes(checksum, `${object}: ref ${name}`),
      size: Number(size),
      timestamp: time?.type === 't' ? Number(swap(time.value as bigint)) : null,
      ...(version?.type === 's' ? { version: version.value as string } : {}),
    });
  }
  return { refs, metadata };
}
