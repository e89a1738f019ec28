import { OstreeError } from '../errors.ts';
import { decode } from '../gvariant/decode.ts';
import { encode, type Value, type Variant } from '../gvariant/encode.ts';
import { LazyArray, tupleMembers } from '../gvariant/lazy.ts';
import { swap } from './commit.ts';
import { type Checksum, checksumFromBytes, checksumToBytes, compareNames } from './object-name.ts';

/** What a summary says of a ref. */
export interface SummaryRef {
  commit: Checksum;
  /** Bytes of the commit object. Clients refuse a longer one, so it must be right. */
  size: number;
  /** Seconds since 1970, if the summary says. */
  timestamp: number | null;
  /** The commit's `version` metadata, if it has one and the summary says. */
  version?: string | null;
}

/** The refs of a repository with what clients need to know before they ask for more. */
export interface Summary {
  refs: Map<string, SummaryRef>;
  metadata: readonly (readonly [string, Variant])[];
}

/** `OSTREE_SUMMARY_GVARIANT_FORMAT`; refs sorted, since clients search them by bisection. */
const FORMAT = '(a(s(taya{sv}))a{sv})';
const ENTRY = '(taya{sv})';
const TIMESTAMP = 'ostree.commit.timestamp';
const VERSION = 'ostree.commit.version';

/** Serialises a summary. Commit sizes are little-endian, times big-endian, as libostree has them. */
export function encodeSummary({ refs, metadata }: Summary): Buffer {
  return joinSummary(
    [...refs].map(([name, ref]) => [name, encodeSummaryEntry(ref)]),
    metadata,
  );
}

/** What a summary says of a ref, `(taya{sv})`: it depends on the commit alone. */
export function encodeSummaryEntry({ commit, size, timestamp, version }: SummaryRef): Buffer {
  const extra: Value[] = [];
  if (version) extra.push([VERSION, { type: 's', value: version }]);
  if (timestamp !== null) extra.push([TIMESTAMP, { type: 't', value: swap(BigInt.asUintN(64, BigInt(timestamp))) }]);
  return encode(ENTRY, [BigInt(size), checksumToBytes(commit), extra]);
}

/** A serialised entry as a value that can be part of another. */
export function decodeSummaryEntry(entry: Uint8Array): Value {
  return decode(ENTRY, entry, { object: 'summary' });
}

/** A summary of entries that are serialised already, since most of them were in the summary before. */
export function joinSummary(
  entries: readonly (readonly [name: string, entry: Buffer])[],
  metadata: Summary['metadata'],
): Buffer {
  const sorted = entries.toSorted(([a], [b]) => compareNames(a, b));
  // A list of (name, entry): both begin at multiples of 8, the length of the name is said at the end of each pair.
  const pairs = sorted.map(([name, entry]) => {
    const length = Buffer.byteLength(name) + 1;
    const body = align8(length) + entry.length;
    const width = offsetWidth(body, 1);
    const pair = Buffer.alloc(body + width);
    pair.write(name);
    entry.copy(pair, align8(length));
    pair.writeUIntLE(length, body, width);
    return pair;
  });
  let end = 0;
  const ends = pairs.map((pair) => {
    end = align8(end) + pair.length;
    return end;
  });
  const width = offsetWidth(end, ends.length);
  const extra = encode('a{sv}', metadata);
  const list = end + ends.length * width;
  const total = align8(list) + extra.length;
  const lastWidth = offsetWidth(total, 1);
  const summary = Buffer.alloc(total + lastWidth);
  pairs.forEach((pair, index) => {
    pair.copy(summary, ends[index]! - pair.length);
    summary.writeUIntLE(ends[index]!, end + index * width, width);
  });
  extra.copy(summary, align8(list));
  summary.writeUIntLE(list, total, lastWidth);
  return summary;
}

/**
 * The entries of a summary by commit, as they are serialised. Only for a summary that joinSummary made: nothing is
 * checked.
 */
export function entriesByCommit(summary: Buffer): Map<Checksum, Buffer> {
  const found = new Map<Checksum, Buffer>();
  const [list] = tupleMembers(FORMAT, summary, 'summary');
  const items = new LazyArray('(s(taya{sv}))', list!, 'summary');
  for (let index = 0; index < items.length; index++) {
    const pair = items.item(index);
    const width = offsetWidth(pair.length, 0);
    const body = pair.length - width;
    const entry = pair.subarray(align8(pair.readUIntLE(body, width)), body);
    found.set(entry.toString('hex', 8, 40), entry);
  }
  return found;
}

function align8(offset: number): number {
  return (offset + 7) & ~7;
}

/** How wide the framing offsets of a container are: they count in its size. 1 GiB is more than any client reads. */
function offsetWidth(body: number, offsets: number): 1 | 2 | 4 {
  if (body + offsets <= 0xff) return 1;
  if (body + 2 * offsets <= 0xffff) return 2;
  if (body + 4 * offsets <= 0x3fffffff) return 4;
  throw new OstreeError('unsupported', `a summary of ${body} bytes`, { hint: 'No client reads so large a one.' });
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
      timestamp: time?.type === 't' ? Number(BigInt.asIntN(64, swap(time.value as bigint))) : null,
      ...(version?.type === 's' ? { version: version.value as string } : {}),
    });
  }
  return { refs, metadata };
}
