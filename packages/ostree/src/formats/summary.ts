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
  const names = new Uint32Array(sorted.length);
  const ends = new Uint32Array(sorted.length);
  let end = 0;
  sorted.forEach(([name, entry], index) => {
    const length = Buffer.byteLength(name) + 1;
    names[index] = length;
    const body = align8(length) + entry.length;
    end = align8(end) + body + offsetWidth(body, 1);
    ends[index] = end;
  });
  const width = offsetWidth(end, sorted.length);
  const extra = encode('a{sv}', metadata);
  const list = end + sorted.length * width;
  const total = align8(list) + extra.length;
  const lastWidth = offsetWidth(total, 1);
  const summary = Buffer.alloc(total + lastWidth);
  sorted.forEach(([name, entry], index) => {
    const start = index === 0 ? 0 : align8(ends[index - 1]!);
    const at = start + align8(names[index]!);
    summary.write(name, start);
    summary.set(entry, at);
    writeOffset(summary, names[index]!, at + entry.length, ends[index]! - at - entry.length);
    writeOffset(summary, ends[index]!, end + index * width, width);
  });
  summary.set(extra, align8(list));
  writeOffset(summary, list, total, lastWidth);
  return summary;
}

function writeOffset(data: Buffer, value: number, at: number, width: number): void {
  if (width === 1) data[at] = value;
  else if (width === 2) data.writeUInt16LE(value, at);
  else data.writeUInt32LE(value, at);
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
