import type { Source } from '@treeline/server';
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
      { header: 'url', shrink: true, keep: 'end' },
    ],
    rows,
    options,
  );
}
