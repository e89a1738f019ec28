import { significant } from './statistics.ts';
import type { Row } from './suite.ts';

/** The rows as an aligned table that is also Markdown, so that it goes into a README as it is. */
export function table(rows: readonly Row[]): string {
  const head = ['measure', 'unit', 'Treeline', 'peer', 'peer is', 'ratio', 'goal', 'runs', ''];
  const body = rows.map((row) => [
    row.measure,
    row.unit,
    number(row.ours),
    number(row.theirs),
    row.peer,
    row.ratio === null ? '–' : `${number(row.ratio)}×`,
    row.goal === null ? '' : `≥ ${row.goal}×`,
    String(row.runs),
    verdict(row),
  ]);
  const widths = head.map((title, column) =>
    Math.max(3, title.length, ...body.map((line) => line[column]?.length ?? 0)),
  );
  const right = new Set([2, 3, 5, 6, 7]);
  const format = (cells: string[]) =>
    `| ${cells.map((cell, i) => (right.has(i) ? cell.padStart(widths[i] ?? 0) : cell.padEnd(widths[i] ?? 0))).join(' | ')} |`;
  const rule = `|${widths.map((width, i) => (right.has(i) ? `${'-'.repeat(width + 1)}:` : '-'.repeat(width + 2))).join('|')}|`;
  return [format(head), rule, ...body.map(format)].join('\n');
}

function number(value: number | null): string {
  return value === null ? '–' : String(significant(value));
}

function verdict(row: Row): string {
  if (row.note) return row.note;
  if (row.ratio === null || row.goal === null) return '';
  return row.ratio >= row.goal ? 'met' : 'MISSED';
}
