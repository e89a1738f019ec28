import type { Value } from './encode.ts';
import type { Node } from './text-node.ts';
import { parseError } from './tokens.ts';
import { parseType } from './type.ts';

/**
 * What is known of a node's type: a type string in which `*` is anything, `N` any number, `S` anything written as a
 * string, and `M` any number of maybes.
 */
function patternOf(node: Node, text: string): string {
  switch (node.kind) {
    case 'boolean':
      return 'Mb';
    case 'number':
      return node.isDouble ? 'Md' : 'MN';
    case 'string':
      return 'MS';
    case 'bytes':
      return 'May';
    case 'variant':
      return 'Mv';
    case 'typed':
      return node.type;
    case 'maybe':
      return node.child ? `m${patternOf(node.child, text)}` : 'm*';
    case 'array':
      return `Ma${commonPattern(node.items, text)}`;
    case 'tuple':
      return `M(${node.items.map((item) => patternOf(item, text)).join('')})`;
    case 'entry':
      return `M{${keyPattern(node, [node.key], text)}${patternOf(node.value, text)}}`;
    case 'dictionary': {
      if (node.entries.length === 0) return 'Ma{**}';
      const keys = keyPattern(
        node,
        node.entries.map(([key]) => key),
        text,
      );
      // GLib goes by the first value alone.
      return `Ma{${keys}${patternOf(node.entries[0]![1], text)}}`;
    }
  }
}

function keyPattern(node: Node, keys: Node[], text: string): string {
  const pattern = commonPattern(keys, text);
  const letter = pattern.startsWith('M') ? pattern[1]! : pattern[0]!;
  if (!'bynqiuxthdsogNS'.includes(letter)) throw parseError(text, node, 'dictionary keys must have basic types');
  return letter;
}

function commonPattern(nodes: Node[], text: string): string {
  let common = '*';
  for (const [index, node] of nodes.entries()) {
    const next = coalesce(common, patternOf(node, text));
    if (next === null) {
      const span = { start: nodes[0]!.start, end: nodes[index]!.end };
      throw parseError(text, span, 'unable to find a common type');
    }
    common = next;
  }
  return common;
}

/** The pattern of what fits two patterns; null when nothing can. */
function coalesce(first: string, second: string): string | null {
  let [left, right] = [first, second];
  let result = '';
  while (left !== '' && right !== '') {
    if (left[0] === right[0]) {
      result += left[0]!;
      left = left.slice(1);
      right = right.slice(1);
      continue;
    }
    const step = oneStep(left, right);
    if (step) {
      result += step.known;
      left = step.one;
      right = step.other;
      continue;
    }
    const swapped = oneStep(right, left);
    if (!swapped) return null;
    result += swapped.known;
    right = swapped.one;
    left = swapped.other;
  }
  return left === '' && right === '' ? result : null;
}

function oneStep(one: string, other: string): { known: string; one: string; other: string } | null {
  const next = other[0]!;
  if (one[0] === '*' && next !== ')') {
    const known = firstPattern(other);
    return { known, one: one.slice(1), other: other.slice(known.length) };
  }
  if (one[0] === 'M' && next === 'm') return { known: 'm', one, other: other.slice(1) };
  if (one[0] === 'M' && next !== '*') return { known: '', one: one.slice(1), other };
  const fits = (one[0] === 'N' && 'ynqiuxthd'.includes(next)) || (one[0] === 'S' && 'sog'.includes(next));
  return fits ? { known: next, one: one.slice(1), other: other.slice(1) } : null;
}

/** The first complete type of a pattern, with what goes before it. */
function firstPattern(pattern: string): string {
  let at = 0;
  while (pattern[at] === 'a' || pattern[at] === 'm' || pattern[at] === 'M') at++;
  let open = 0;
  do {
    if (pattern[at] === '(' || pattern[at] === '{') open++;
    else if (pattern[at] === ')' || pattern[at] === '}') open--;
    at++;
  } while (open > 0 && at < pattern.length);
  return pattern.slice(0, at);
}

/** The type of a node by itself: GLib's guess where several would do. Throws `invalid` where nothing tells. */
export function definiteType(node: Node, text: string): string {
  const pattern = patternOf(node, text);
  if (pattern.includes('*')) throw parseError(text, node, 'unable to infer type');
  const type = pattern.replaceAll('M', '').replaceAll('S', 's').replaceAll('N', 'i');
  parseType(type); // nested deeper than this package goes, at worst
  return type;
}

/** The value of a node, which is of this type or can be. Throws `invalid`. */
export function readAs(node: Node, type: string, text: string): Value {
  const parsed = parseType(type);
  const mismatch = () => parseError(text, node, `can not parse as value of type '${type}'`);
  if (node.kind === 'typed') return readAs(node.child, type, text);
  if (node.kind === 'maybe') {
    if (parsed.kind !== 'maybe') throw mismatch();
    if (node.child === null) return null;
    const value = readAs(node.child, parsed.element!.signature, text);
    if (value === null) throw parseError(text, node, 'a maybe of nothing is not supported');
    return value;
  }
  if (parsed.kind === 'maybe') return readAs(node, parsed.element!.signature, text);
  switch (node.kind) {
    case 'boolean':
      if (type !== 'b') throw mismatch();
      return node.value;
    case 'number':
      return node.valueAs(type) ?? fail(mismatch());
    case 'string':
      return node.valueAs(type) ?? fail(mismatch());
    case 'bytes':
      if (type !== 'ay') throw mismatch();
      return node.value;
    case 'variant': {
      if (type !== 'v') throw mismatch();
      const inner = definiteType(node.child, text);
      return { type: inner, value: readAs(node.child, inner, text) };
    }
    case 'array': {
      if (parsed.kind !== 'array' && parsed.kind !== 'bytes') throw mismatch();
      const items = node.items.map((item) => readAs(item, parsed.element!.signature, text));
      return parsed.kind === 'bytes' ? Buffer.from(items as number[]) : items;
    }
    case 'tuple': {
      if (parsed.kind !== 'tuple' || !type.startsWith('(') || parsed.members!.length !== node.items.length)
        throw mismatch();
      return node.items.map((item, index) => readAs(item, parsed.members![index]!.signature, text));
    }
    case 'entry':
      if (!type.startsWith('{')) throw mismatch();
      return [
        readAs(node.key, parsed.members![0]!.signature, text),
        readAs(node.value, parsed.members![1]!.signature, text),
      ];
    case 'dictionary': {
      if (!type.startsWith('a{')) throw mismatch();
      const [key, value] = parsed.element!.members!;
      return node.entries.map(([k, v]) => [readAs(k, key!.signature, text), readAs(v, value!.signature, text)]);
    }
  }
}

function fail(error: Error): never {
  throw error;
}
