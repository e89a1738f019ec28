import { OstreeError } from '@treeline/ostree/errors.ts';
import { compareNames } from '@treeline/ostree/formats/object-name.ts';
import { byteswap } from '@treeline/ostree/gvariant/byteswap.ts';
import { decode } from '@treeline/ostree/gvariant/decode.ts';
import type { Variant } from '@treeline/ostree/gvariant/encode.ts';
import { printValue } from '@treeline/ostree/gvariant/print.ts';
import { formatSize } from './size-text.ts';

const SUMMARY = '(a(s(taya{sv}))a{sv})';
type Refs = [name: string, [size: bigint, commit: Uint8Array, extra: [string, Variant][]]][];
type Summary = [refs: Refs, metadata: [string, Variant][]];

function read(data: Uint8Array): Summary {
  return decode(SUMMARY, data, { object: 'summary' }) as unknown as Summary;
}

/** A summary as `ostree summary --view` shows it. */
export function formatSummary(data: Uint8Array): string {
  const [refs, metadata] = read(data);
  const own = metadata.find(([key]) => key === 'ostree.summary.collection-id')?.[1];
  const lines = formatRefs(refs, own?.type === 's' ? (own.value as string) : null);
  const map = metadata.find(([key]) => key === 'ostree.summary.collection-map')?.[1];
  if (map?.type === 'a{sa(s(taya{sv}))}') {
    for (const [collection, others] of map.value as unknown as [string, Refs][]) {
      lines.push(...formatRefs(others, collection));
    }
  }
  return [...lines, ...metadata.map(([key, value]) => formatKey(key, value)), ''].join('\n');
}

function formatRefs(refs: Refs, collection: string | null): string[] {
  return refs.flatMap(([name, [size, commit, extra]]) => [
    collection === null ? `* ${name}` : `* (${collection}, ${name})`,
    `    Latest Commit (${formatSize(Number(size))}):`,
    `      ${Buffer.from(commit).toString('hex')}`,
    ...extra.map(([key, value]) => `    ${formatExtra(key, value)}`),
    '',
  ]);
}

function formatExtra(key: string, value: Variant): string {
  if (key === 'ostree.commit.timestamp' && value.type === 't') return `Timestamp (${key}): ${bigEndianTime(value)}`;
  if (key === 'ostree.commit.version' && value.type === 's') return `Version (${key}): ${value.value as string}`;
  return `${key}: ${printValue(value.type, value.value, false)}`;
}

function formatKey(key: string, value: Variant): string {
  const plain = () => printValue(value.type, value.value, false);
  const expected: Record<string, [type: string, label: string, text: () => string]> = {
    'ostree.static-deltas': ['a{sv}', 'Static Deltas', plain],
    'ostree.summary.last-modified': ['t', 'Last-Modified', () => bigEndianTime(value)],
    'ostree.summary.expires': ['t', 'Expires', () => bigEndianTime(value)],
    'ostree.summary.collection-id': ['s', 'Collection ID', () => value.value as string],
    'ostree.summary.collection-map': ['a{sa(s(taya{sv}))}', 'Collection Map', () => '(printed above)'],
    'ostree.summary.mode': ['s', 'Repository Mode', () => modeText(value.value as string)],
    'ostree.summary.tombstone-commits': ['b', 'Has Tombstone Commits', () => (value.value ? 'Yes' : 'No')],
  };
  const known = Object.hasOwn(expected, key) ? expected[key]! : null;
  return known && known[0] === value.type ? `${known[1]} (${key}): ${known[2]()}` : `${key}: ${plain()}`;
}

const MODES = ['bare', 'archive', 'archive-z2', 'bare-user', 'bare-user-only', 'bare-split-xattrs'];

function modeText(mode: string): string {
  return MODES.includes(mode) ? mode : `Invalid (‘${mode}’)`;
}

/** Local time with its distance to UTC, `%FT%T%:::z`: as short as it can be. */
function bigEndianTime({ value }: Variant): string {
  const date = new Date(Number(byteswap('t', value)) * 1000);
  if (Number.isNaN(date.getTime()) || date.getUTCFullYear() > 9999) return 'invalid';
  const offset = -date.getTimezoneOffset();
  const local = new Date(date.getTime() + offset * 60_000).toISOString().replace(/\..*/, '');
  const two = (count: number) => String(count).padStart(2, '0');
  const minutes = Math.abs(offset) % 60;
  return `${local}${offset < 0 ? '-' : '+'}${two(Math.floor(Math.abs(offset) / 60))}${minutes ? `:${two(minutes)}` : ''}`;
}

/** The keys of a summary's metadata, sorted. */
export function summaryKeys(data: Uint8Array): string[] {
  return read(data)[1]
    .map(([key]) => key)
    .toSorted(compareNames);
}

/** One value of a summary's metadata, as `--print-metadata-key` prints it. Throws `not-found`. */
export function formatSummaryKey(data: Uint8Array, key: string): string {
  const value = read(data)[1].find(([name]) => name === key)?.[1];
  if (!value) throw new OstreeError('not-found', `No such metadata key '${key}'`);
  return printValue(value.type, byteswap(value.type, value.value));
}

/** A whole summary in GVariant's text form, as `--raw` prints it. */
export function formatRawSummary(data: Uint8Array): string {
  return printValue(SUMMARY, byteswap(SUMMARY, decode(SUMMARY, data, { object: 'summary' })));
}
