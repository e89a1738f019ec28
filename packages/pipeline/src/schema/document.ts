import type { CST, Node, Scalar, YAMLError } from 'yaml';
import { type Alias, Composer, isAlias, isMap, isScalar, isSeq, Lexer, LineCounter, Parser } from 'yaml';
import type { Position } from '../model.ts';
import { describe, type Entry, type Reader, shorten, type Value } from './value.ts';

/** Far more than any file needs, far less than what costs time or memory. */
const limits = { characters: 256 * 1024, depth: 40, values: 20_000 };

/**
 * Reads one YAML 1.2 document. Answers undefined after having reported all faults of syntax. Aliases are followed,
 * up to a total number of values, so that no small file becomes a big one.
 */
export function readDocument(reader: Reader, text: string): Value | undefined {
  const start: Position = { line: 1, column: 1 };
  if (text.length > limits.characters) {
    const message = `the file has ${text.length} characters, the most is ${limits.characters}`;
    reader.fault(start, { message, hint: 'put scripts and data into files of their own' });
    return undefined;
  }
  const positionOf = locate(text);
  const control = /[^\P{Cc}\t\n\r]/u.exec(text.replaceAll('\x85', ' '));
  if (control) {
    const message = `the file contains the control character ${escapeOf(control[0])}`;
    const hint = 'a pipeline is text; in double quotes, write a control character as an escape';
    reader.fault(positionOf(control.index), { message, hint });
    return undefined;
  }
  const tokens = parseTokens(reader, text, positionOf);
  if (!tokens) return undefined;
  const options = { schema: 'core', merge: false, uniqueKeys: false, prettyErrors: false, logLevel: 'silent' } as const;
  const documents = [...new Composer(options).compose(tokens)];
  const second = documents[1];
  if (second) {
    const position = positionOf(second.range[0]);
    reader.fault(position, {
      message: 'a second document begins here',
      hint: 'a file has one document: take out the "---"',
    });
  }
  const errors = documents.flatMap((document) => [...document.errors, ...document.warnings]);
  for (const error of errors) reader.fault(positionOf(error.pos[0]), explain(error));
  if (second || errors.length > 0) return undefined;
  const root = documents[0]?.contents;
  if (!root || (isScalar(root) && root.value === null)) {
    reader.fault(start, {
      message: 'the file is empty',
      hint: 'a smallest pipeline is: jobs: { test: { run: make test } }',
    });
    return undefined;
  }
  return convert(reader, root, positionOf);
}

function locate(text: string): (offset: number) => Position {
  const lines = new LineCounter();
  lines.addNewLine(0);
  for (let at = text.indexOf('\n'); at >= 0; at = text.indexOf('\n', at + 1)) lines.addNewLine(at + 1);
  return (offset) => {
    const { line, col } = lines.linePos(Math.min(offset, text.length));
    return { line, column: col };
  };
}

function escapeOf(character: string): string {
  return `\\x${character.charCodeAt(0).toString(16).padStart(2, '0')}`;
}

/** The depth is watched while tokens come, since composing what is too deep would exhaust the stack. */
function parseTokens(reader: Reader, text: string, positionOf: (offset: number) => Position): CST.Token[] | undefined {
  const tokens: CST.Token[] = [];
  const parser = new Parser();
  for (const lexeme of new Lexer().lex(text)) {
    tokens.push(...parser.next(lexeme));
    if (parser.stack.length > limits.depth) {
      const position = positionOf(parser.offset);
      reader.fault(position, { message: 'nested too deeply', hint: 'no key of a pipeline is as deep as this' });
      return undefined;
    }
  }
  tokens.push(...parser.end());
  for (const token of tokens) {
    if (token.type !== 'directive') continue;
    const message = `directives such as "${shorten(token.source)}" are not read`;
    reader.fault(positionOf(token.offset), { message, hint: 'take the line out: a pipeline is YAML 1.2' });
    return undefined;
  }
  return tokens;
}

function explain(error: YAMLError): { message: string; hint?: string } {
  const message = shorten(`not valid YAML: ${error.message}`.replace(/; please use .*$/, ''), 160);
  const hint = hints[error.code];
  return hint ? { message, hint } : { message };
}

const hints: Partial<Record<YAMLError['code'], string>> = {
  TAB_AS_INDENT: 'indent with spaces',
  BAD_INDENT: 'keys of one map begin in the same column; a [ or { needs its closing partner',
  BLOCK_AS_IMPLICIT_KEY: 'text that contains ": " needs quotes, or a block: run: |',
  BAD_SCALAR_START: 'put the text in quotes',
  MISSING_CHAR: 'a key is followed by ":" and a space; a quote needs its closing partner',
  TAG_RESOLVE_FAILED: 'take out the "!" word, or put the text in quotes',
  MULTILINE_IMPLICIT_KEY: 'a key stands on one line, followed by ":"',
  UNEXPECTED_TOKEN: 'put text with special characters in quotes',
};

function convert(reader: Reader, root: Node, positionOf: (offset: number) => Position): Value | undefined {
  const anchors = resolveAliases(root);
  let values = 0;
  let full = false;

  function visit(node: Node | null, at: Position, depth: number): Value {
    const position = node?.range ? positionOf(node.range[0]) : at;
    if (full || ++values > limits.values || depth > limits.depth) {
      if (!full) {
        const hint = 'an alias (*name) repeats all that its anchor (&name) holds: use fewer';
        reader.fault(position, { message: `more than ${limits.values} values, or nested too deeply`, hint });
      }
      full = true;
      return { kind: 'nothing', text: '', position };
    }
    if (isAlias(node)) {
      const target = anchors.get(node);
      if (target) return visit(target, position, depth + 1);
      reader.fault(position, unknownAlias(node));
      // Most likely it was meant to be text.
      return { kind: 'text', text: `*${node.source}`, position };
    }
    if (isSeq<Node>(node))
      return { kind: 'list', position, items: node.items.map((item) => visit(item, position, depth + 1)) };
    if (isMap<Node, Node | null>(node)) {
      const entries = new Map<string, Entry>();
      for (const pair of node.items) {
        const key = visit(pair.key, position, depth + 1);
        const found = visit(pair.value, key.position, depth + 1);
        // What is not there has no place of its own.
        const value = found.kind === 'nothing' && found.text === '' ? { ...found, position: key.position } : found;
        if (!('text' in key)) {
          reader.fault(key.position, {
            message: `${describe(key)} cannot be a key`,
            hint: 'a key is a word followed by ":"',
          });
          continue;
        }
        const before = entries.get(key.text);
        if (before) {
          const message = `the key "${shorten(key.text)}" is there twice`;
          reader.fault(key.position, { message, hint: `it is also in line ${before.position.line}: take one out` });
          continue;
        }
        entries.set(key.text, { key: key.text, position: key.position, value });
      }
      return { kind: 'map', position, entries: [...entries.values()] };
    }
    return scalar(node as Scalar | null, position);
  }

  const value = visit(root, { line: 1, column: 1 }, 0);
  return full ? undefined : value;
}

function scalar(node: Scalar | null, position: Position): Value {
  const value = node?.value ?? null;
  if (typeof value === 'string') return { kind: 'text', text: value, position };
  if (value === null) return { kind: 'nothing', text: node?.source ?? '', position };
  // As written: 3.10 must not become 3.1.
  const text = node?.source ?? JSON.stringify(value);
  return { kind: typeof value === 'boolean' ? 'boolean' : 'number', text, position };
}

/** In one walk in the order of the file, since an anchor's name may be given again; depth is limited by now. */
function resolveAliases(root: Node): Map<Alias, Node> {
  const named = new Map<string, Node>();
  const targets = new Map<Alias, Node>();
  function walk(node: unknown): void {
    if (isAlias(node)) {
      const target = named.get(node.source);
      if (target) targets.set(node, target);
      return;
    }
    if (isSeq<Node>(node) || isMap<Node, Node>(node) || isScalar(node)) {
      if (node.anchor) named.set(node.anchor, node);
    }
    if (isSeq<Node>(node)) for (const item of node.items) walk(item);
    if (isMap<Node, Node>(node)) {
      for (const pair of node.items) {
        walk(pair.key);
        walk(pair.value);
      }
    }
  }
  walk(root);
  return targets;
}

function unknownAlias(node: Alias): { message: string; hint: string } {
  const message = `"*${shorten(node.source)}" names an anchor that is not there`;
  return { message, hint: `text that begins with "*" needs quotes: "*${shorten(node.source)}"` };
}
