import type { Diff } from '@treeline/server';
import type { Command } from 'commander';
import { formatBytes } from '../output/bytes.ts';
import { paint, type Style } from '../output/colour.ts';
import { printDocument, printText } from '../output/document.ts';
import { formatTable } from '../output/table.ts';
import { oneLine } from '../output/text.ts';
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
    .addHelpText('after', '\nA added, D removed, M modified (content, mode, owner or target).')
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
    return [{ text: letter, style }, change.path, kindOf(change), sizes(change)];
  });
  return formatTable(
    [
      { header: ' ' },
      { header: 'path', shrink: true, keep: 'end' },
      { header: 'kind' },
      { header: 'size', align: 'right' },
    ],
    rows,
  );
}

function kindOf({ before, after }: Change): string {
  const kinds = [...new Set([before?.type, after?.type])].filter((type) => type !== undefined);
  return kinds.join(' → ');
}

function sizes({ before, after }: Change): string {
  if (before && after && describe(before) === describe(after)) {
    const hasOtherMode = before.mode !== undefined && after.mode !== undefined && before.mode !== after.mode;
    return hasOtherMode ? `${octal(before)} → ${octal(after)}` : describe(after);
  }
  return [before, after]
    .filter((node) => node !== undefined)
    .map(describe)
    .join(' → ');
}

function describe(node: Node): string {
  if (node.type === 'symlink') return oneLine(node.target ?? '');
  return node.size === undefined ? '' : formatBytes(node.size);
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
