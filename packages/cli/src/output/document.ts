import { terminalWidth } from './table.ts';
import { wrap } from './text.ts';

/** One JSON document on stdout, indented for a person who looks at it. */
export function printDocument(value: unknown): void {
  process.stdout.write(`${JSON.stringify(value, null, 2)}\n`);
}

/** One line of a JSON stream (https://jsonlines.org) on stdout. */
export function printJsonLine(value: unknown): void {
  process.stdout.write(`${JSON.stringify(value)}\n`);
}

/** Lines of text on stdout. */
export function printText(text: string): void {
  process.stdout.write(text.endsWith('\n') ? text : `${text}\n`);
}

/** A sentence or two on stdout, broken at the terminal's width. */
export function printProse(text: string): void {
  printText(wrap(text, terminalWidth()).join('\n'));
}
