import type { Diff } from '@treeline/server';
import type { Command } from 'commander';
import { formatBytes } from '../output/bytes.ts';
import { paint, type Style } from '../output/colour.ts';
import { printDocument, printText } from '../output/document.ts';
import { formatTable } from '../output/table.ts';
import { count, shortId } from '../output/words.ts';
import { resolveCommit } from '../revisions.ts';
import { clientOf, optionsOf, type Session } from '../session.ts';

type Change = Diff['changes'][number];
type Node = NonNullable<Change['after']>;

const letters: Record<Change['kind'], [string, Style]> = {
  added: ['A', 'green'],
  removed: ['D', 'red'],
  modified: ['M', 'yellow'],
};

export function declare(command: Command, session: Session): void {
  command
    .description(
      'Exactly the files that differ between two commits, and what a device fetches to get from one to the other.',
    )
    .argument('<from>', 'a channel (robot/edge; robot/edge^ is its release before), a release number, a commit …')
    .argument('<to>', 'the same')
    .option('--stat', 'only how many files and bytes')
    .addHelpText(
      'after',
      '\nA added, D removed, M modified. +NAME and -NAME are extended attributes. Fetched: the bytes of a device.',
    )
    .action(async (from: string, to: string, _: object, self: Command) => {
      const options = optionsOf<{ stat?: boolean }>(self);
      const client = clientOf(session, options);
      const [before, after] = await Promise.all([resolveCommit(client, from), resolveCommit(client, to)]);
      const diff = await client.get<Diff>('diff', { from: before, to: after }, { work: 'comparing' });
      if (options.json) return printDocument(diff);
      if (!options.stat && diff.changes.length > 0) printText(changeTable(diff.changes));
      printText(summary(diff));
    });
}

function changeTable(changes: Change[]): string {
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

function summary(diff: Diff): string {
  if (diff.changes.length === 0) {
    return diff.from === diff.to
      ? `Both are commit ${shortId(diff.from)}.`
      : 'No file differs: the trees are the same.';
  }
  const kinds = (Object.keys(letters) as Array<Change['kind']>)
    .map((kind) => ({ kind, number: diff.changes.filter((change) => change.kind === kind).length }))
    .filter(({ number }) => number > 0)
    .map(({ kind, number }) => paint(letters[kind][1], `${number} ${kind}`));
  const { objects, bytes, totalBytes } = diff.download;
  const share = totalBytes > 0 ? ` of ${formatBytes(totalBytes)} (${percent(bytes / totalBytes)})` : '';
  return [
    `${shortId(diff.from)}..${shortId(diff.to)}  ${count(diff.changes.length, 'path')}: ${kinds.join(', ')}`,
    `a device fetches ${count(objects, 'object')}, ${formatBytes(bytes)}${share}`,
  ].join('\n');
}

function percent(share: number): string {
  const value = share * 100;
  return value > 0 && value < 0.1 ? '<0.1 %' : `${value.toFixed(value < 10 ? 1 : 0)} %`;
}
