import type { Style } from './colour.ts';
import { paint } from './colour.ts';
import { cellWidth, oneLine, shorten, wrap } from './text.ts';

/**
 * A cell: its text, and optionally a style that is applied after the text was fitted. `below`: a text that would be
 * cut is too important for that and goes on lines of its own below the row.
 */
export type Cell = string | { text: string; style?: Style | Style[]; below?: boolean };

export type Column = {
  header: string;
  align?: 'left' | 'right';
  /** Cells of this column may be cut when the table is wider than the terminal; the last such column goes first. */
  shrink?: boolean;
  /** Which end of a cell that is cut is kept; of paths and URLs the end says more. */
  keep?: 'start' | 'end';
};

/**
 * Rows as lines of aligned columns, two spaces apart. `width` is the terminal's (Infinity when piped: then nothing
 * is cut and a program can split on two spaces). Cell text is made harmless for a terminal here.
 */
export function formatTable(
  columns: Column[],
  rows: Cell[][],
  options: { width?: number; stream?: NodeJS.WritableStream; indent?: string } = {},
): string {
  const { width = terminalWidth(), stream = process.stdout, indent = '' } = options;
  const texts = rows.map((row) => columns.map((_, index) => cellText(row[index])));
  const widths = columns.map((column, index) =>
    Math.max(cellWidth(column.header), ...texts.map((row) => cellWidth(row[index]!))),
  );
  fit(columns, widths, width - indent.length);

  const line = (cells: string[], styles: Array<Style | Style[] | undefined>) =>
    indent +
    cells
      .map((text, index) => {
        const fitted = shorten(text, widths[index]!, columns[index]!.keep);
        const padding = ' '.repeat(Math.max(0, widths[index]! - cellWidth(fitted)));
        const style = styles[index];
        const painted = style ? paint(style, fitted, stream) : fitted;
        return columns[index]!.align === 'right' ? padding + painted : painted + padding;
      })
      .join('  ')
      .trimEnd();

  const header = line(
    columns.map((column) => column.header),
    columns.map(() => 'dim'),
  );
  const body = rows.flatMap((row, index) => {
    const cells = texts[index]!;
    const below = columns.map((_, column) => isBelow(row[column]) && cellWidth(cells[column]!) > widths[column]!);
    const first = line(
      cells.map((text, column) => (below[column] ? '' : text)),
      columns.map((_, column) => cellStyle(row[column])),
    );
    const rest = cells
      .filter((_, column) => below[column])
      .flatMap((text) => wrap(text, width - indent.length - 4))
      .map((text) => `${indent}    ${text}`);
    return [first, ...rest];
  });
  return [header, ...body].join('\n');
}

function isBelow(cell: Cell | undefined): boolean {
  return typeof cell === 'object' && cell.below === true;
}

function cellText(cell: Cell | undefined): string {
  const text = typeof cell === 'object' ? cell.text : cell;
  if (typeof text !== 'string') throw new TypeError(`a table cell is ${text === null ? 'null' : typeof text}`);
  return oneLine(text);
}

function cellStyle(cell: Cell | undefined): Style | Style[] | undefined {
  return typeof cell === 'object' ? cell.style : undefined;
}

/** Takes cells from the shrinkable columns, widest first, until the row fits; never below 8 cells. */
function fit(columns: Column[], widths: number[], width: number): void {
  const total = () => widths.reduce((sum, cells) => sum + cells, 0) + 2 * (widths.length - 1);
  while (total() > width) {
    let widest = -1;
    for (const [index, column] of columns.entries()) {
      if (column.shrink && widths[index]! > 8 && (widest < 0 || widths[index]! >= widths[widest]!)) widest = index;
    }
    if (widest < 0) return;
    widths[widest]!--;
  }
}

/**
 * Columns of the terminal; Infinity when the stream is a pipe or a file, unless COLUMNS says how wide the place is
 * where the text will be shown.
 */
export function terminalWidth(stream: NodeJS.WritableStream = process.stdout): number {
  const { isTTY, columns } = stream as NodeJS.WriteStream;
  if (isTTY && columns) return columns;
  const said = Number(process.env.COLUMNS);
  return Number.isInteger(said) && said >= 20 ? said : isTTY ? 80 : Number.POSITIVE_INFINITY;
}
