import type { Diff } from '@treeline/server';
import { formatBytes } from './bytes.ts';
import { paint, type Style } from './colour.ts';
import { formatTable } from './table.ts';
import { count } from './words.ts';

type Change = Diff['changes'][number];
type Node = NonNullable<Change['after']>;

const letters: Record<Change['kind'], [string, Style]> = {
  added: ['A', 'green'],
  removed: ['D', 'red'],
  modified: ['M', 'yellow'],
};

/** Changes, a line each: letter, path, what differs, sizes, and what a device fetches. */
export function changeTable(changes: Change[]): string {
  const rows = changes.map((change) => {
    const [letter, style] = letters[change.kind];
    const fetched = change.download > 0 ? formatBytes(change.download) : '';
    return [{ text: letter, style }, change.path, { text: whatOf(change), below: true }, sizes(change), fetched];
  });
  return formatTable(
    [
      { header: ' ' },
      { header: 'path', shrink: true, keep: 'end' },
      { header: 'what', shrink: true },
      { header: 'size', align: 'right' },
      { header: 'fetched', align: 'right' },
    ],
    rows,
  );
}

/** What differs, or what came or went. */
function whatOf(change: Change): string {
  const { before, after } = change;
  if (!before || !after) return describe((before ?? after)!);
  return change.differs.map((aspect) => difference(aspect, before, after)).join(', ');
}

function difference(aspect: Change['differs'][number], before: Node, after: Node): string {
  switch (aspect) {
    case 'content':
      return 'content';
    case 'type':
      return `${describe(before)} → ${describe(after)}`;
    case 'target':
      return `to ${before.target} → ${after.target}`;
    case 'mode':
      return `mode ${octal(before)} → ${octal(after)}`;
    case 'owner':
      return `owner ${before.uid}:${before.gid} → ${after.uid}:${after.gid}`;
    case 'xattrs':
      return changedXattrs(before, after);
  }
}

/** `+name` for one that came, `-name` for one that went, the name for one of another value. */
function changedXattrs(before: Node, after: Node): string {
  const [old, young] = [before, after].map((node) => new Map((node.xattrs ?? []).map((one) => [one.name, one.value])));
  return [...new Set([...old!.keys(), ...young!.keys()])]
    .filter((name) => old!.get(name) !== young!.get(name))
    .map((name) => (!old!.has(name) ? `+${name}` : !young!.has(name) ? `-${name}` : name))
    .join(' ');
}

function describe(node: Node): string {
  if (node.type === 'symlink') return `symlink to ${node.target ?? ''}`;
  const name = node.type === 'dir' ? 'folder' : 'file';
  return node.mode === undefined ? name : `${name} ${octal(node)}`;
}

function sizes({ before, after }: Change): string {
  const texts = [before, after].flatMap((node) => (node?.size === undefined ? [] : [formatBytes(node.size)]));
  return [...new Set(texts)].join(' → ');
}

function octal(node: Node): string {
  return ((node.mode ?? 0) & 0o7777).toString(8).padStart(4, '0');
}

/** How many paths of which kind: `3 paths: 1 added, 2 modified`. */
export function countChanges(changes: Change[]): string {
  const kinds = (Object.keys(letters) as Array<Change['kind']>)
    .map((kind) => ({ kind, number: changes.filter((change) => change.kind === kind).length }))
    .filter(({ number }) => number > 0)
    .map(({ kind, number }) => paint(letters[kind][1], `${number} ${kind}`));
  return `${count(changes.length, 'path')}: ${kinds.join(', ')}`;
}

/** What a device that has the one fetches for the other: `a device fetches 4 objects, 5.0 kB of 9.0 MB (<0.1 %)`. */
export function downloadLine(download: { objects: number; bytes: number; totalBytes?: number }): string {
  const { objects, bytes, totalBytes = 0 } = download;
  const share = totalBytes > 0 ? ` of ${formatBytes(totalBytes)} (${percent(bytes / totalBytes)})` : '';
  return `a device fetches ${count(objects, 'object')}, ${formatBytes(bytes)}${share}`;
}

function percent(share: number): string {
  const value = share * 100;
  return value > 0 && value < 0.1 ? '<0.1 %' : `${value.toFixed(value < 10 ? 1 : 0)} %`;
}
