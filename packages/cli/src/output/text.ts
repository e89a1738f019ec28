import { stripVTControlCharacters } from 'node:util';

// What a terminal shows two cells wide: East Asian wide and full-width forms, and most emoji.
const wide =
  /^[\u1100-\u115f\u2e80-\u303e\u3041-\u33ff\u3400-\u4dbf\u4e00-\u9fff\ua000-\ua4cf\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff00-\uff60\uffe0-\uffe6\u{1f300}-\u{1f64f}\u{1f680}-\u{1f6ff}\u{1f900}-\u{1f9ff}\u{20000}-\u{3fffd}]/u;
const plain = /^[\x20-\x7e]*$/;
let segmenter: Intl.Segmenter | undefined;

function* graphemes(text: string): Generator<string> {
  segmenter ??= new Intl.Segmenter(undefined, { granularity: 'grapheme' });
  for (const { segment } of segmenter.segment(text)) yield segment;
}

/** How many terminal cells `text` takes; colour sequences take none. */
export function cellWidth(text: string): number {
  const bare = text.includes('\x1b') ? stripVTControlCharacters(text) : text;
  if (plain.test(bare)) return bare.length;
  let cells = 0;
  for (const grapheme of graphemes(bare)) cells += wide.test(grapheme) ? 2 : 1;
  return cells;
}

/** `text` (without colour sequences) cut to at most `cells` cells, with … where something was cut. */
export function shorten(text: string, cells: number, keep: 'start' | 'end' = 'start'): string {
  if (cellWidth(text) <= cells) return text;
  if (cells <= 0) return '';
  const all = [...graphemes(text)];
  if (keep === 'end') all.reverse();
  const kept: string[] = [];
  let used = 0;
  for (const grapheme of all) {
    used += wide.test(grapheme) ? 2 : 1;
    if (used > cells - 1) break;
    kept.push(grapheme);
  }
  return keep === 'end' ? `…${kept.reverse().join('')}` : `${kept.join('')}…`;
}

/**
 * Broken into lines of at most `cells` cells at spaces; a word that is longer keeps a line of its own. What goes on of an
 * indented line, an item of a list, is indented by two more.
 */
export function wrap(text: string, cells: number): string[] {
  const lines: string[] = [];
  for (const paragraph of text.split('\n')) {
    const indent = /^ +/.exec(paragraph)?.[0] ?? '';
    const hanging = indent === '' ? '' : `${indent}  `;
    let line: string | undefined;
    for (const word of paragraph.split(' ')) {
      if (line !== undefined && cellWidth(line) + 1 + cellWidth(word) > cells) {
        lines.push(line);
        line = `${hanging}${word}`;
      } else {
        line = line === undefined ? word : `${line} ${word}`;
      }
    }
    lines.push(line ?? '');
  }
  return lines;
}

/**
 * One line that cannot drive a terminal: names, subjects and messages come from git repositories and devices, and an
 * escape sequence in them could rewrite what is on the screen.
 */
export function oneLine(text: string): string {
  return stripVTControlCharacters(text)
    .replace(/\s+/g, ' ')
    .replace(/[\p{Cc}\u202a-\u202e\u2066-\u2069]/gu, '\ufffd');
}

const esc = '\u001b';
/** A colour sequence (ECMA-48 SGR), in a group so that split() keeps it. */
export const colourSequence = new RegExp(`(${esc}\\[[0-9;:]*m)`);
// Operating system commands up to BEL or ST, control sequences, and two-character escapes (ECMA-48).
const otherSequence = new RegExp(
  `${esc}\\][^\\u0007${esc}]*(?:\\u0007|${esc}\\\\)?|${esc}\\[[0-?]*[ -/]*[@-~]|${esc}[^]`,
  'g',
);

/** Text of several lines (a log) in which only colours survive of all that could drive a terminal. */
export function manyLines(text: string): string {
  const parts = text.replace(/\r+\n/g, '\n').split(colourSequence);
  // split() puts the colours at the odd places.
  return parts
    .map((part, index) => (index % 2 === 1 ? part : part.replace(otherSequence, '').replace(/[^\P{Cc}\t\n\r]/gu, '')))
    .join('');
}
