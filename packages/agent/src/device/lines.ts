import type { Said } from '../words/progress.ts';
import type { Field } from '../words/status.ts';

/** Labelled lines in at most `columns` columns: what is too long goes on below itself. */
export function formatFields(fields: readonly Field[], columns: number): string {
  const width = Math.max(...fields.map(({ label }) => label.length));
  const room = Math.max(20, columns - width - 2);
  return fields
    .map(({ label, value }) => `${label.padEnd(width)}  ${wrap(value, room).join(`\n${' '.repeat(width + 2)}`)}`)
    .join('\n');
}

/** What the agent did, for a journal: one line, and below it what a program wrote. */
export function formatSaid({ label, text, output }: Said): string {
  const below = output === '' ? '' : `\n${output.replace(/^/gm, '  | ')}`;
  return `${`${label.padEnd(11)}  ${text}`.trimEnd()}${below}`;
}

/** Broken at spaces; a word that is longer than a line is cut. */
function wrap(text: string, room: number): string[] {
  const lines: string[] = [];
  let line = '';
  for (const word of text.split(' ').flatMap((long) => long.match(new RegExp(`.{1,${room}}`, 'gu')) ?? [''])) {
    if (line !== '' && line.length + 1 + word.length > room) {
      lines.push(line);
      line = word;
    } else {
      line = line === '' ? word : `${line} ${word}`;
    }
  }
  return [...lines, line];
}
