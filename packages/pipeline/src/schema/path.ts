import type { FaultText } from '../diagnostic/collector.ts';
import type { Position } from '../model.ts';
import { type Reader, shorten } from './value.ts';

/** Linux takes no longer ones. */
const longestPath = 4095;
const longestSegment = 255;

type Located = { readonly text: string; readonly position: Position };

/** A path below some folder, normalised: no empty parts, no `.`; the folder itself is `.`. */
export function readRelativePath(reader: Reader, { text, position }: Located, where: string): string | undefined {
  const segments = split(text);
  const fault =
    segmentsFault(text, segments, where) ?? (text.startsWith('/') ? notRelative(text, segments, where) : undefined);
  if (fault) reader.fault(position, fault);
  return fault ? undefined : segments.join('/') || '.';
}

/** A path from the root of a tree, normalised; the root is `/`. */
export function readAbsolutePath(reader: Reader, { text, position }: Located, where: string): string | undefined {
  const segments = split(text);
  const fault =
    segmentsFault(text, segments, where) ?? (text.startsWith('/') ? undefined : notAbsolute(text, segments, where));
  if (fault) reader.fault(position, fault);
  return fault ? undefined : `/${segments.join('/')}`;
}

/** A pattern for `matchPaths`, as it was written. */
export function readPattern(reader: Reader, { text, position }: Located, where: string): string | undefined {
  const fault = patternFault(text, where);
  if (fault) reader.fault(position, fault);
  return fault ? undefined : text;
}

function patternFault(text: string, where: string): FaultText | undefined {
  const segments = split(text);
  if (text.startsWith('!')) {
    return {
      message: `${where}: "${shorten(text)}": patterns cannot exclude`,
      hint: 'list what the job needs instead',
    };
  }
  const bracket = /[[\]{}]/.exec(text)?.[0];
  if (bracket) {
    const message = `${where}: "${shorten(text)}": "${bracket}" has no meaning in a pattern`;
    return { message, hint: 'write one pattern for each case; "?" stands for any one character, also a bracket' };
  }
  const fault = segmentsFault(text, segments, where);
  if (fault) return fault;
  return text.startsWith('/') ? notRelative(text, segments, where) : undefined;
}

function split(text: string): string[] {
  return text.split('/').filter((segment) => segment !== '' && segment !== '.');
}

function segmentsFault(text: string, segments: readonly string[], where: string): FaultText | undefined {
  const shown = shorten(text);
  if (text === '') return { message: `${where} is empty`, hint: 'write "." for the whole folder' };
  if (/\p{Cc}/u.test(text)) {
    const name = text.includes('\0') ? 'a NUL byte' : 'a control character';
    return { message: `${where}: "${shown}" contains ${name}`, hint: 'take it out: no path of a repository needs it' };
  }
  if (segments.includes('..')) {
    return { message: `${where}: "${shown}" leads out of its folder`, hint: 'write the path without ".."' };
  }
  if (text.includes('\\')) {
    return {
      message: `${where}: "${shown}" contains a backslash`,
      hint: `write "${shorten(text.replaceAll('\\', '/'))}"`,
    };
  }
  if (
    Buffer.byteLength(text) > longestPath ||
    segments.some((segment) => Buffer.byteLength(segment) > longestSegment)
  ) {
    return {
      message: `${where}: "${shown}" is too long for a path`,
      hint: `at most ${longestSegment} bytes a part, ${longestPath} in all`,
    };
  }
  return undefined;
}

function notRelative(text: string, segments: readonly string[], where: string): FaultText {
  // Both places are known to be roots already.
  const rest = segments[0] === 'out' || segments[0] === 'src' ? segments.slice(1) : segments;
  return {
    message: `${where}: "${shorten(text)}" must be relative`,
    hint: `write "${shorten(rest.join('/') || '.')}"`,
  };
}

function notAbsolute(text: string, segments: readonly string[], where: string): FaultText {
  const hint = `write "/${shorten(segments.join('/'))}": it is a place in the composed tree`;
  return { message: `${where}: "${shorten(text)}" must begin with "/"`, hint };
}
