import type { Source } from '@treeline/server';
import { paint } from './colour.ts';
import { type Cell, formatTable } from './table.ts';
import { shortId } from './words.ts';

/** The git revisions that something was made from, a line each. */
export function sourceTable(sources: Source[], options: { indent?: string } = {}): string {
  const rows = sources.map((source): Cell[] => [
    { text: source.project, style: 'bold' },
    { text: shortId(source.revision), style: 'yellow' },
    source.subject,
    { text: source.url, style: 'dim' },
  ]);
  return formatTable(
    [
      { header: 'project' },
      { header: 'revision' },
      { header: 'subject', shrink: true },
      { header: 'url', shrink: true },
    ],
    rows,
    options,
  );
}

/** Labelled lines, the labels in one column. */
export function fields(pairs: Array<[label: string, value: string]>): string {
  const width = Math.max(...pairs.map(([label]) => label.length));
  return pairs.map(([label, value]) => `${paint('dim', label.padEnd(width))}  ${value}`).join('\n');
}
