import { isVariant, type Value } from './encode.ts';
import { type GVariantType, parseType } from './type.ts';

/**
 * A value in GLib's text form, byte for byte what `g_variant_print` prints and `ostree show` shows.
 *
 * @param annotate whether types that the text alone does not tell are said (`uint32 7`, `@as []`). Inside variants
 *   they always are.
 */
export function printValue(signature: string, value: Value, annotate = true): string {
  return print(parseType(signature), value, annotate);
}

const NAMES: Record<string, string> = {
  y: 'byte ',
  n: 'int16 ',
  q: 'uint16 ',
  u: 'uint32 ',
  h: 'handle ',
  x: 'int64 ',
  t: 'uint64 ',
};

function print(type: GVariantType, value: Value, annotate: boolean): string {
  switch (type.kind) {
    case 'basic':
      return basic(type.signature, value, annotate);
    case 'string':
      return string(type.signature, value as string, annotate);
    case 'bytes':
      return bytes(value as Uint8Array, annotate);
    case 'variant':
      return isVariant(value) ? `<${print(parseType(value.type), value.value, true)}>` : '<>';
    case 'maybe':
      return `${annotate ? `@${type.signature} ` : ''}${value === null ? 'nothing' : print(type.element!, value, false)}`;
    case 'tuple': {
      const parts = type.members!.map((member, index) => print(member, (value as Value[])[index]!, annotate));
      if (type.signature.startsWith('{')) return `{${parts[0]}, ${parts[1]}}`;
      return parts.length === 1 ? `(${parts[0]},)` : `(${parts.join(', ')})`;
    }
    case 'array':
      return array(type, value as Value[], annotate);
  }
}

function basic(letter: string, value: Value, annotate: boolean): string {
  if (letter === 'b') return value ? 'true' : 'false';
  if (letter === 'd') return double(value as number);
  const name = annotate ? (NAMES[letter] ?? '') : '';
  if (letter === 'y') return `${name}0x${(value as number).toString(16).padStart(2, '0')}`;
  return `${name}${value as number | bigint}`;
}

/** `%.17g`, with a `.0` where nothing else shows that it is no integer. */
function double(value: number): string {
  if (Number.isNaN(value)) return 'nan';
  if (!Number.isFinite(value)) return value < 0 ? '-inf' : 'inf';
  const [digits, power] = value.toExponential(16).split('e') as [string, string];
  const exponent = Number(power);
  const sign = Object.is(value, -0) ? '-' : '';
  let text: string;
  if (exponent < -4 || exponent >= 17) {
    const size = String(Math.abs(exponent)).padStart(2, '0');
    text = `${withoutZeros(digits)}e${exponent < 0 ? '-' : '+'}${size}`;
  } else text = withoutZeros(value.toFixed(Math.min(100, 16 - exponent)));
  return sign + (/[.en]/i.test(text) ? text : `${text}.0`);
}

function withoutZeros(text: string): string {
  return text.includes('.') ? text.replace(/\.?0+$/, '') : text;
}

function string(letter: string, text: string, annotate: boolean): string {
  if (letter === 's') return quote(text);
  return `${annotate ? (letter === 'o' ? 'objectpath ' : 'signature ') : ''}'${text}'`;
}

function bytes(value: Uint8Array, annotate: boolean): string {
  const last = value.length - 1;
  if (last >= 0 && value.indexOf(0) === last) {
    const mark = value.includes(0x27) ? '"' : "'";
    return `b${mark}${[...value.subarray(0, last)].map(escapeByte).join('')}${mark}`;
  }
  if (value.length === 0) return annotate ? '@ay []' : '[]';
  const items = [...value].map((byte) => `0x${byte.toString(16).padStart(2, '0')}`);
  return `[${annotate ? 'byte ' : ''}${items.join(', ')}]`;
}

/** What `g_strescape` makes of a byte. */
function escapeByte(byte: number): string {
  const letter = { 8: 'b', 9: 't', 10: 'n', 11: 'v', 12: 'f', 13: 'r', 34: '"', 92: '\\' }[byte];
  if (letter) return `\\${letter}`;
  if (byte < 0x20 || byte >= 0x7f) return `\\${byte.toString(8).padStart(3, '0')}`;
  return String.fromCharCode(byte);
}

function array(type: GVariantType, value: Value[], annotate: boolean): string {
  const element = type.element!;
  const isDictionary = element.signature.startsWith('{');
  if (value.length === 0) return `${annotate ? `@${type.signature} ` : ''}${isDictionary ? '{}' : '[]'}`;
  // One annotated element is enough to tell the type of all.
  const items = value.map((item, index) => {
    const first = annotate && index === 0;
    if (!isDictionary) return print(element, item, first);
    const [key, content] = item as [Value, Value];
    return `${print(element.members![0]!, key, first)}: ${print(element.members![1]!, content, first)}`;
  });
  return isDictionary ? `{${items.join(', ')}}` : `[${items.join(', ')}]`;
}

function quote(text: string): string {
  const mark = text.includes("'") ? '"' : "'";
  let escaped = '';
  for (const character of text) {
    if (character === mark || character === '\\') escaped += `\\${character}`;
    else escaped += UNPRINTABLE.test(character) ? escapeCharacter(character) : character;
  }
  return mark + escaped + mark;
}

/** What `g_unichar_isprint` says no to: controls, formats, what is not assigned. */
const UNPRINTABLE = /[\p{Cc}\p{Cf}\p{Cn}\p{Cs}]/u;

function escapeCharacter(character: string): string {
  const code = character.codePointAt(0)!;
  const letter = { 7: 'a', 8: 'b', 9: 't', 10: 'n', 11: 'v', 12: 'f', 13: 'r' }[code];
  if (letter) return `\\${letter}`;
  if (code < 0x10000) return `\\u${code.toString(16).padStart(4, '0')}`;
  return `\\U${code.toString(16).padStart(8, '0')}`;
}
