import { paint } from './colour.ts';
import { terminalWidth } from './table.ts';
import { wrap } from './text.ts';

/** Labelled lines, the labels in one column; a value that is too long for the terminal goes on below itself. */
export function fields(pairs: Array<[label: string, value: string]>): string {
  const width = Math.max(...pairs.map(([label]) => label.length));
  const room = Math.max(20, terminalWidth() - width - 2);
  return pairs
    .map(([label, value]) => {
      const lines = wrap(value, room).join(`\n${' '.repeat(width + 2)}`);
      return `${paint('dim', label.padEnd(width))}  ${lines}`;
    })
    .join('\n');
}
