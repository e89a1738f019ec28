import { OstreeError } from '../errors.ts';

/**
 * A parsed GVariant type. `alignment` and `fixedSize` follow the GVariant specification, section 2.
 * `fixedSize` is 0 for types whose values vary in size.
 */
export interface GVariantType {
  readonly kind: 'basic' | 'string' | 'bytes' | 'array' | 'maybe' | 'tuple' | 'variant';
  readonly signature: string;
  readonly alignment: 1 | 2 | 4 | 8;
  readonly fixedSize: number;
  /** Element of an array or a maybe. */
  readonly element?: GVariantType;
  /** Members of a tuple or a dictionary entry. */
  readonly members?: readonly GVariantType[];
}

/** Deeper than any format that OSTree defines; bounds recursion on hostile type strings. */
const MAX_DEPTH = 32;

const BASIC: Record<string, [alignment: 1 | 2 | 4 | 8, size: number]> = {
  y: [1, 1],
  b: [1, 1],
  n: [2, 2],
  q: [2, 2],
  i: [4, 4],
  u: [4, 4],
  x: [8, 8],
  t: [8, 8],
  d: [8, 8],
  h: [4, 4],
};

const cache = new Map<string, GVariantType>();

/** Parses a type string such as `(a{sv}aya(say)sstayay)`. Throws `invalid`. */
export function parseType(signature: string): GVariantType {
  const known = cache.get(signature);
  if (known) return known;
  const [type, end] = parseAt(signature, 0, 0);
  if (end !== signature.length) {
    throw new OstreeError('invalid', `GVariant type "${signature}": unexpected text at ${end}`, { offset: end });
  }
  // Types come from hostile variants too: remember only so many.
  if (cache.size < 1000) cache.set(signature, type);
  return type;
}

function parseAt(text: string, at: number, depth: number): [GVariantType, number] {
  const bad = (message: string) => new OstreeError('invalid', `GVariant type: ${message} at ${at}`, { offset: at });
  if (depth > MAX_DEPTH) throw bad(`nested deeper than ${MAX_DEPTH}`);
  const letter = text[at];
  if (letter === undefined) throw bad('ends too early');
  const basic = BASIC[letter];
  if (basic) {
    return [{ kind: 'basic', signature: letter, alignment: basic[0], fixedSize: basic[1] }, at + 1];
  }
  if (letter === 's' || letter === 'o' || letter === 'g') {
    return [{ kind: 'string', signature: letter, alignment: 1, fixedSize: 0 }, at + 1];
  }
  if (letter === 'v') return [{ kind: 'variant', signature: 'v', alignment: 8, fixedSize: 0 }, at + 1];
  if (letter === 'a' || letter === 'm') {
    const [element, end] = parseAt(text, at + 1, depth + 1);
    const signature = text.slice(at, end);
    if (signature === 'ay') return [{ kind: 'bytes', signature, alignment: 1, fixedSize: 0, element }, end];
    const kind = letter === 'a' ? 'array' : 'maybe';
    return [{ kind, signature, alignment: element.alignment, fixedSize: 0, element }, end];
  }
  if (letter === '(' || letter === '{') {
    const close = letter === '(' ? ')' : '}';
    const members: GVariantType[] = [];
    let next = at + 1;
    while (text[next] !== close) {
      const [member, end] = parseAt(text, next, depth + 1);
      members.push(member);
      next = end;
    }
    if (letter === '{' && (members.length !== 2 || !/^[bynqiuxtdhsog]$/.test(members[0]!.signature))) {
      throw bad('a dictionary entry is a basic key and one value');
    }
    return [tuple(members, text.slice(at, next + 1)), next + 1];
  }
  throw bad(`unknown letter ${JSON.stringify(letter)}`);
}

function tuple(members: GVariantType[], signature: string): GVariantType {
  let alignment: 1 | 2 | 4 | 8 = 1;
  let size = 0;
  for (const member of members) {
    if (member.alignment > alignment) alignment = member.alignment;
    size = member.fixedSize === 0 || size < 0 ? -1 : align(size, member.alignment) + member.fixedSize;
  }
  // The unit type is one byte; a fixed-size tuple is padded so that it can follow itself in an array.
  const fixedSize = members.length === 0 ? 1 : size < 0 ? 0 : align(size, alignment);
  return { kind: 'tuple', signature, alignment, fixedSize, members };
}

/** The next multiple of `alignment` at or after `offset`. */
export function align(offset: number, alignment: number): number {
  return (offset + alignment - 1) & ~(alignment - 1);
}
