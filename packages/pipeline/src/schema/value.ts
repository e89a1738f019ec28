import type { Collector, FaultText } from '../diagnostic/collector.ts';
import { nearest } from '../diagnostic/nearest.ts';
import type { Position } from '../model.ts';
import { nameKey } from './keys.ts';

/** What a YAML file holds, freed of its syntax. `text` of a scalar is as written, without quotes. */
export type Value = { readonly position: Position } & (
  | { readonly kind: 'map'; readonly entries: readonly Entry[] }
  | { readonly kind: 'list'; readonly items: readonly Value[] }
  | { readonly kind: 'text' | 'number' | 'boolean' | 'nothing'; readonly text: string }
);

export type Entry = { readonly key: string; readonly position: Position; readonly value: Value };

export type MapValue = Value & { readonly kind: 'map' };

/** Where faults go while a file is read. The readers below report what is wrong and then answer undefined. */
export type Reader = {
  readonly project: string;
  readonly fault: (position: Position, text: FaultText) => void;
};

export function readerOf(collector: Collector, file: { project: string; file: string }): Reader {
  return { project: file.project, fault: (position, text) => collector.report(file, position, text) };
}

/** The entries of a map by key. `where` is what the map describes, such as `job "train"`; `known` are its keys. */
export function readFields(
  reader: Reader,
  value: Value,
  { where, known }: { where: string; known: readonly string[] },
): ReadonlyMap<string, Entry> | undefined {
  if (value.kind !== 'map') {
    const hint = `it has these keys: ${known.join(', ')}`;
    reader.fault(value.position, { message: `${where} must be a map, not ${describe(value)}`, hint });
    return undefined;
  }
  for (const { key, position } of value.entries) {
    if (known.includes(key)) continue;
    reader.fault(position, { message: `unknown key "${shorten(key)}" in ${where}`, hint: nameKey(key, known) });
  }
  return new Map(value.entries.filter(({ key }) => known.includes(key)).map((entry) => [entry.key, entry]));
}

export function readMap(
  reader: Reader,
  value: Value,
  { where, hint }: { where: string; hint: string },
): MapValue | undefined {
  if (value.kind === 'map') return value;
  reader.fault(value.position, { message: `${where} must be a map, not ${describe(value)}`, hint });
  return undefined;
}

export function readText(
  reader: Reader,
  value: Value,
  { where, hint }: { where: string; hint?: string },
): string | undefined {
  if (value.kind === 'text') return value.text;
  const quoted =
    value.kind === 'number' || value.kind === 'boolean' ? `put it in quotes: "${shorten(value.text)}"` : undefined;
  reader.fault(value.position, { message: `${where} must be text, not ${describe(value)}`, hint: quoted ?? hint });
  return undefined;
}

export function readBoolean(reader: Reader, value: Value, where: string): boolean | undefined {
  if (value.kind === 'boolean') return value.text.toLowerCase() === 'true';
  const word = 'text' in value ? value.text.toLowerCase() : '';
  const meant = ['yes', 'on', 'true', 'y', '1'].includes(word)
    ? 'true'
    : ['no', 'off', 'false', 'n', '0'].includes(word)
      ? 'false'
      : undefined;
  const hint = meant ? `write ${meant}, without quotes` : 'write true or false';
  reader.fault(value.position, { message: `${where} must be true or false, not ${describe(value)}`, hint });
  return undefined;
}

/** A list of texts, or one text alone. Items that are no text are reported and left out. */
export function readTexts(
  reader: Reader,
  value: Value,
  { where, hint }: { where: string; hint: string },
): readonly (Value & { text: string })[] {
  if (value.kind === 'text') return [value];
  if (value.kind !== 'list') {
    reader.fault(value.position, { message: `${where} must be a list, not ${describe(value)}`, hint });
    return [];
  }
  return value.items.flatMap((item) => {
    const text = readText(reader, item, { where: `an item of ${where}`, hint });
    return text === undefined ? [] : [{ kind: 'text' as const, text, position: item.position }];
  });
}

/** Letters, digits, `.`, `_`, `-`: good as a file name, as a part of a ref and in a terminal. */
const namePattern = /^[A-Za-z0-9][A-Za-z0-9._-]*$/;
const longestName = 100;

export function isName(text: string): boolean {
  return namePattern.test(text) && text.length <= longestName;
}

/** What is wrong with a name, or undefined. */
export function nameFault(what: string, text: string): FaultText | undefined {
  if (isName(text)) return undefined;
  if (text.length > longestName) {
    return { message: `the name of ${what} is ${text.length} characters long`, hint: `use at most ${longestName}` };
  }
  const better = text
    .normalize('NFKD')
    .replace(/[^A-Za-z0-9._-]+/g, '-')
    .replace(/^[^A-Za-z0-9]+|-+$/g, '');
  const allowed = 'letters, digits, ".", "_" and "-", beginning with a letter or digit';
  const message = `"${shorten(text)}" cannot be the name of ${what}`;
  return { message, hint: isName(better) ? `use ${allowed}, such as "${better}"` : `use ${allowed}` };
}

export function meant(text: string, candidates: Iterable<string>): string | undefined {
  const candidate = nearest(text, candidates);
  return candidate && `did you mean "${candidate}"?`;
}

export function describe(value: Value): string {
  switch (value.kind) {
    case 'map':
      return 'a map';
    case 'list':
      return 'a list';
    case 'nothing':
      return 'nothing';
    case 'text':
      return `"${shorten(value.text)}"`;
    case 'number':
      return `the number ${shorten(value.text)}`;
    case 'boolean':
      return shorten(value.text);
  }
}

/** For messages: a file may hold anything, of any length. */
export function shorten(text: string, length = 60): string {
  const line = text.replace(/\s+/g, ' ');
  return line.length <= length ? line : `${line.slice(0, length - 1)}…`;
}
