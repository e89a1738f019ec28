import type { Variant } from './encode.ts';
import { definiteType, readAs } from './infer-type.ts';
import { bytesNode, type Node, numberNode, stringNode } from './text-node.ts';
import { parseError, TokenStream } from './tokens.ts';
import { parseType } from './type.ts';

/** As deep as GLib goes. */
const MAX_DEPTH = 64;

const KEYWORDS: Record<string, string> = {
  boolean: 'b',
  byte: 'y',
  int16: 'n',
  uint16: 'q',
  int32: 'i',
  handle: 'h',
  uint32: 'u',
  int64: 'x',
  uint64: 't',
  double: 'd',
  string: 's',
  objectpath: 'o',
  signature: 'g',
};

/**
 * Reads a value in GLib's text form (`'text'`, `uint64 42`, `[1, 2]`, `{'a': <true>}`, `@as []`), finding the type as
 * `g_variant_parse` does: numbers are int32 unless something says otherwise.
 *
 * @throws OstreeError `invalid`, with the place and GLib's words: `0-4:unknown keyword`
 */
export function parseValue(text: string): Variant {
  const stream = new TokenStream(text);
  const node = parseNode(stream, 0);
  if (stream.token !== '') throw stream.expected('expected end of input');
  const type = definiteType(node, text);
  return { type, value: readAs(node, type, text) };
}

function parseNode(stream: TokenStream, depth: number): Node {
  if (depth > MAX_DEPTH) throw stream.error('variant nested too deeply');
  const { token, start, end } = stream;
  const here = { start, end };
  const inner = () => parseNode(stream, depth + 1);
  switch (token.charAt(0)) {
    case '[':
      return array(stream, inner);
    case '(':
      return tuple(stream, inner);
    case '{':
      return dictionary(stream, inner);
    case '<': {
      stream.advance();
      const child = inner();
      stream.require('>', ' to follow variant value');
      return { kind: 'variant', child, start, end: stream.lastEnd };
    }
    case '@': {
      stream.advance();
      const type = token.slice(1);
      assertDefinite(type, stream.text, here);
      const child = inner();
      return { kind: 'typed', type, child, start, end: child.end };
    }
    case '"':
    case "'":
      stream.advance();
      return stringNode(stream.text, here);
  }
  if (token.startsWith("b'") || token.startsWith('b"')) {
    stream.advance();
    return bytesNode(stream.text, here);
  }
  if (token === 'true' || token === 'false') {
    stream.advance();
    return { kind: 'boolean', value: token === 'true', ...here };
  }
  if (/^[-+.0-9]/.test(token) || /^(inf|nan)/.test(token)) {
    stream.advance();
    return numberNode(stream.text, here);
  }
  if (token === 'nothing') {
    stream.advance();
    return { kind: 'maybe', child: null, ...here };
  }
  if (token === 'just') {
    stream.advance();
    const child = inner();
    return { kind: 'maybe', child, start, end: child.end };
  }
  if (/^[a-z]/.test(token)) {
    const type = Object.hasOwn(KEYWORDS, token) ? KEYWORDS[token]! : undefined;
    if (type === undefined) throw stream.error('unknown keyword');
    stream.advance();
    const child = inner();
    return { kind: 'typed', type, child, start, end: child.end };
  }
  throw stream.expected('expected value');
}

function assertDefinite(type: string, text: string, span: { start: number; end: number }): void {
  try {
    parseType(type);
  } catch {
    const indefinite = /[*?r]/.test(type);
    throw parseError(text, span, indefinite ? 'type declarations must be definite' : 'invalid type declaration');
  }
}

function array(stream: TokenStream, inner: () => Node): Node {
  const { start } = stream;
  stream.advance();
  const items: Node[] = [];
  while (!stream.consume(']')) {
    if (items.length > 0) stream.require(',', " or ']' to follow array element");
    items.push(inner());
  }
  return { kind: 'array', items, start, end: stream.lastEnd };
}

function tuple(stream: TokenStream, inner: () => Node): Node {
  const { start } = stream;
  stream.advance();
  const items: Node[] = [];
  while (!stream.consume(')')) {
    if (items.length > 1) stream.require(',', " or ')' to follow tuple element");
    items.push(inner());
    // A comma tells a tuple of one from a value in parentheses.
    if (items.length === 1) stream.require(',', ' after first tuple element');
  }
  return { kind: 'tuple', items, start, end: stream.lastEnd };
}

function dictionary(stream: TokenStream, inner: () => Node): Node {
  const { start } = stream;
  stream.advance();
  const entries: [Node, Node][] = [];
  if (stream.consume('}')) return { kind: 'dictionary', entries, start, end: stream.lastEnd };
  const key = inner();
  if (stream.consume(',')) {
    const value = inner();
    stream.require('}', ' at end of dictionary entry');
    return { kind: 'entry', key, value, start, end: stream.lastEnd };
  }
  stream.require(':', " or ',' to follow dictionary entry key");
  entries.push([key, inner()]);
  while (!stream.consume('}')) {
    stream.require(',', " or '}' to follow dictionary entry");
    const next = inner();
    stream.require(':', ' to follow dictionary entry key');
    entries.push([next, inner()]);
  }
  return { kind: 'dictionary', entries, start, end: stream.lastEnd };
}
