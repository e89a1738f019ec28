import type { Diagnostic } from './diagnostic.ts';

/** The text of the file at fault; a function when there is more than one file. */
export type SourceText = string | ((diagnostic: Diagnostic) => string | undefined);

/** Columns of source shown around a fault. */
const width = 100;

/**
 * For people, in plain text: place, message, the line at fault with a caret under the fault, hint.
 *
 * ```
 * treeline.yaml:4:5: unknown key "inptus" in job "train" (project model)
 *   4 |     inptus: { app: app/package }
 *     |     ^
 *   hint: did you mean "inputs"?
 * ```
 *
 * What comes from the file is stripped of control characters: it may go to a terminal.
 */
export function formatDiagnostics(diagnostics: readonly Diagnostic[], source?: SourceText): string {
  return diagnostics.map((diagnostic) => formatOne(diagnostic, source)).join('\n\n');
}

function formatOne(diagnostic: Diagnostic, source: SourceText | undefined): string {
  const { file, line, column, message, project, hint } = diagnostic;
  const text = typeof source === 'function' ? source(diagnostic) : source;
  return [
    printable(`${file}:${line}:${column}: ${message} (project ${project})`),
    ...excerpt(text, line, column),
    ...(hint === undefined ? [] : [printable(`  hint: ${hint}`)]),
  ].join('\n');
}

function excerpt(text: string | undefined, line: number, column: number): string[] {
  const whole = text?.split('\n', line).at(line - 1);
  if (whole === undefined || text === undefined || text.split('\n', line).length < line) return [];
  // A long line is shown around the fault.
  const start = column <= width ? 0 : column - Math.floor(width / 2);
  const end = start + width;
  const shown = `${start > 0 ? '…' : ''}${printable(whole.slice(start, end).trimEnd())}${end < whole.length ? '…' : ''}`;
  const caret = ' '.repeat(column - 1 - start + (start > 0 ? 1 : 0));
  const gutter = ' '.repeat(String(line).length);
  return [`  ${line} | ${shown}`, `  ${gutter} | ${caret}^`];
}

/** A tab becomes one space, so that the caret stays where it belongs. */
function printable(text: string): string {
  return text.replaceAll('\t', ' ').replace(/[\p{Cc}\p{Cf}\u2028\u2029]/gu, '\ufffd');
}
