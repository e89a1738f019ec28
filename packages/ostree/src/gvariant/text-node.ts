import type { Value } from './encode.ts';
import { parseError, type Span } from './tokens.ts';
import { parseType } from './type.ts';

/** A value as it is written, before it is known of which type it is. */
export type Node = Span &
  (
    | { kind: 'boolean'; value: boolean }
    | { kind: 'number'; isDouble: boolean; valueAs(type: string): Value | null }
    | { kind: 'string'; valueAs(type: string): Value | null }
    | { kind: 'bytes'; value: Uint8Array }
    | { kind: 'variant'; child: Node }
    | { kind: 'typed'; type: string; child: Node }
    | { kind: 'maybe'; child: Node | null }
    | { kind: 'array'; items: Node[] }
    | { kind: 'tuple'; items: Node[] }
    | { kind: 'entry'; key: Node; value: Node }
    | { kind: 'dictionary'; entries: [Node, Node][] }
  );

const RANGES: Record<string, [bigint, bigint]> = {
  y: [0n, 0xffn],
  n: [-0x8000n, 0x7fffn],
  q: [0n, 0xffffn],
  i: [-0x80000000n, 0x7fffffffn],
  h: [-0x80000000n, 0x7fffffffn],
  u: [0n, 0xffffffffn],
  x: [-0x8000000000000000n, 0x7fffffffffffffffn],
  t: [0n, 0xffffffffffffffffn],
};

/** A number; how it is read depends on the type that it turns out to be of. */
export function numberNode(text: string, span: Span): Node {
  const token = text.slice(span.start, span.end);
  const isDouble =
    token.includes('.') ||
    (!token.startsWith('0x') && token.includes('e')) ||
    token.includes('inf') ||
    token.includes('nan');
  const valueAs = (type: string): Value | null => {
    const bad = (message: string) => parseError(text, span, message);
    if (type === 'd') return toDouble(token, bad);
    const range = RANGES[type];
    if (!range) return null;
    const value = toInteger(token, bad);
    if (value < range[0] || value > range[1]) {
      throw bad(`number out of range for type '${type}'`);
    }
    return type === 'x' || type === 't' ? value : Number(value);
  };
  return { kind: 'number', isDouble, valueAs, ...span };
}

function toDouble(token: string, bad: (message: string) => Error): number {
  const special = /^([-+]?)(inf(?:inity)?|nan)$/.exec(token);
  if (special) {
    if (special[2] === 'nan') return Number.NaN;
    return special[1] === '-' ? Number.NEGATIVE_INFINITY : Number.POSITIVE_INFINITY;
  }
  const hexadecimal = /^[-+]?0[xX][0-9a-fA-F]+$/.test(token);
  if (hexadecimal) return Number(token.replace(/^[-+]/, '')) * (token.startsWith('-') ? -1 : 1);
  if (!/^[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?$/i.test(token)) {
    throw bad('invalid character in number');
  }
  const value = Number(token);
  if (!Number.isFinite(value)) throw bad('number too big for any type');
  return value;
}

/** As strtoull with base 0: decimal, `0x…`, or octal after a leading zero. */
function toInteger(token: string, bad: (message: string) => Error): bigint {
  const [, sign, digits] = /^([-+]?)(.*)$/s.exec(token)!;
  const valid = /^(0[xX][0-9a-fA-F]+|0[0-7]*|[1-9]\d*)$/.test(digits!);
  if (!valid) throw bad('invalid character in number');
  const octal = /^0\d/.test(digits!);
  const size = BigInt(octal ? `0o${digits!.slice(1)}` : digits!);
  if (size > 0xffffffffffffffffn) throw bad('integer too big for any type');
  return sign === '-' ? -size : size;
}

const ESCAPES: Record<string, string> = {
  a: '\x07',
  b: '\b',
  f: '\f',
  n: '\n',
  r: '\r',
  t: '\t',
  v: '\v',
  '\n': '',
};

/** A string in quotes; `text.slice(start, end)` is the token. */
export function stringNode(text: string, span: Span): Node {
  const token = text.slice(span.start, span.end);
  const last = closingQuote(token, 0, text, span);
  let value = '';
  for (let at = 1; at < last; at++) {
    const character = token[at]!;
    if (character !== '\\') {
      value += character;
      continue;
    }
    const letter = token[++at]!;
    if (letter === 'u' || letter === 'U') {
      const length = letter === 'u' ? 4 : 8;
      const digits = token.slice(at + 1, Math.min(at + 1 + length, last));
      const code = /^[0-9a-fA-F]+$/.test(digits) ? Number.parseInt(digits, 16) : Number.NaN;
      const isCharacter = code > 0 && code <= 0x10ffff && !(code >= 0xd800 && code <= 0xdfff);
      if (digits.length !== length || !isCharacter) {
        const where = { start: span.start + at - 1, end: span.start + at + 1 + digits.length };
        throw parseError(text, where, `invalid ${length}-character unicode escape`);
      }
      value += String.fromCodePoint(code);
      at += length;
    } else value += ESCAPES[letter] ?? letter;
  }
  if (!value.isWellFormed() || value.includes('\0')) throw parseError(text, span, 'invalid string');
  const valueAs = (type: string): string | null => {
    if (type === 's') return value;
    if (type === 'o') return isObjectPath(value) ? value : invalidAs(text, span, 'not a valid object path');
    if (type === 'g') return isSignature(value) ? value : invalidAs(text, span, 'not a valid signature');
    return null;
  };
  return { kind: 'string', valueAs, ...span };
}

function invalidAs(text: string, span: Span, message: string): never {
  throw parseError(text, span, message);
}

function isObjectPath(text: string): boolean {
  return text === '/' || /^(\/[A-Za-z0-9_]+)+$/.test(text);
}

/** Any number of complete types, one after the other. */
function isSignature(text: string): boolean {
  try {
    parseType(`(${text})`);
    return text.length <= 255 && !/[m*?r]/.test(text);
  } catch {
    return false;
  }
}

/** Bytes in quotes after a `b`; a final NUL belongs to them. */
export function bytesNode(text: string, span: Span): Node {
  const token = text.slice(span.start, span.end);
  const last = closingQuote(token, 1, text, span);
  const parts: Buffer[] = [];
  for (let at = 2; at < last; ) {
    if (token[at] !== '\\') {
      const next = token.indexOf('\\', at);
      const end = next < 0 || next > last ? last : next;
      parts.push(Buffer.from(token.slice(at, end)));
      at = end;
      continue;
    }
    const octal = /^[0-7]{1,3}/.exec(token.slice(at + 1, Math.min(at + 4, last)))?.[0];
    if (octal) {
      parts.push(Buffer.from([Number.parseInt(octal, 8) & 0xff]));
      at += 1 + octal.length;
      continue;
    }
    const letter = token[at + 1]!;
    parts.push(Buffer.from(ESCAPES[letter] ?? letter));
    at += 2;
  }
  return { kind: 'bytes', value: Buffer.concat([...parts, Buffer.alloc(1)]), ...span };
}

/** Where the token's closing quote is. */
function closingQuote(token: string, open: number, text: string, span: Span): number {
  let at = open + 1;
  while (at < token.length && token[at] !== token[open]) at += token[at] === '\\' ? 2 : 1;
  if (at >= token.length) throw parseError(text, span, 'unterminated string constant');
  return at;
}
