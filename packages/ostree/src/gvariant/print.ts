import { isVariant, type Value } from './encode.ts';
import { type GVariantType, parseType } from './type.ts';

/** A value in GLib's text form with type annotations, as `g_variant_print (v, TRUE)` and so `ostree` prints it. */
export function printValue(signature: string, value: Value): string {
  return print(parseType(signature), value, true);
}

const NAMES: Record<string, string> = {
  y: 'byte ',
  n: 'int16 ',
  q: 'uint16 ',
  u: 'uint32 ',
  x: 'int64 ',
  t: 'uint64 ',
};

function print(type: GVariantType, value: Value, annotate: boolean): string {
  switch (type.kind) {
    case 'basic':
      return basic(type.signature, value, annotate);
    case 'string':
      return quote(value as string);
    case 'bytes':
      return bytes(value as Uint8Array, annotate);
    case 'variant':
      return isVariant(value) ? `<${print(parseType(value.type), value.value, true)}>` : '<>';
    case 'maybe':
      return value === null ? `${annotate ? `@${type.signature} ` : ''}nothing` : print(type.element!, value, annotate);
    case 'tuple': {
      const parts = type.members!.map((member, index) => print(member, (value as Value[])[index]!, annotate));
      return parts.length === 1 ? `(${parts[0]},)` : `(${parts.join(', ')})`;
    }
    case 'array':
      return array(type, value as Value[], annotate);
  }
}

function basic(letter: string, value: Value, annotate: boolean): string {
  if (letter === 'b') return value ? 'true' : 'false';
  if (letter === 'y') return `${annotate ? NAMES.y : ''}0x${(value as number).toString(16).padStart(2, '0')}`;
  if (letter === 'd') return Number.isInteger(value) ? `${value as number}.0` : `${value as number}`;
  return `${annotate ? (NAMES[letter] ?? '') : ''}${value as number | bigint}`;
}

function bytes(value: Uint8Array, annotate: boolean): string {
  const last = value.length - 1;
  if (last >= 0 && value[last] === 0 && value.indexOf(0) === last) {
    return `b${quote(Buffer.from(value.subarray(0, last)).toString('latin1'))}`;
  }
  if (value.length === 0) return annotate ? '@ay []' : '[]';
  const items = [...value].map((byte) => `0x${byte.toString(16).padStart(2, '0')}`);
  return `[${annotate ? 'byte ' : ''}${items.join(', ')}]`;
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
  const escaped = text.replace(/[\\\n\t\r\b\f\v]/g, (c) => ESCAPES[c] ?? c).replaceAll(mark, `\\${mark}`);
  return mark + escaped + mark;
}

const ESCAPES: Record<string, string> = {
  '\\': '\\\\',
  '\n': '\\n',
  '\t': '\\t',
  '\r': '\\r',
  '\b': '\\b',
  '\f': '\\f',
  '\v': '\\v',
};
