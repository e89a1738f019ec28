import { OstreeError } from '../errors.ts';

/** A GLib key file (`config`, remotes): groups of keys, in file order. */
export type KeyFile = Map<string, Map<string, string>>;

/** Reads a key file. Throws `invalid` with the line that is not a group, a key, a comment or empty. */
export function parseKeyFile(text: string, file: string): KeyFile {
  const groups: KeyFile = new Map();
  let group: Map<string, string> | undefined;
  text.split('\n').forEach((raw, index) => {
    const line = raw.trim();
    if (line === '' || line.startsWith('#')) return;
    const header = /^\[(.+)\]$/.exec(line);
    if (header) {
      group = groups.get(header[1]!) ?? new Map();
      groups.set(header[1]!, group);
      return;
    }
    const equals = line.indexOf('=');
    if (!group || equals < 1) {
      throw new OstreeError('invalid', `${file}:${index + 1}: neither a [group] nor a key=value: ${line.slice(0, 60)}`);
    }
    group.set(line.slice(0, equals).trim(), line.slice(equals + 1).trim());
  });
  return groups;
}

export function formatKeyFile(groups: KeyFile): string {
  return [...groups]
    .map(([name, keys]) => `[${name}]\n${[...keys].map(([key, value]) => `${key}=${value}\n`).join('')}`)
    .join('\n');
}

/**
 * Puts changed groups into the text of a key file: what is the same, comments and blank lines stay as they are, since
 * people write them (GKeyFile keeps them too). A group that is gone takes the comments in it along.
 */
export function mergeKeyFile(text: string, groups: KeyFile): string {
  const lines: string[] = [];
  const written = new Map<string, Set<string>>();
  let group: string | null = null;
  let missing: () => void = () => {};
  for (const line of text.replace(/\n+$/, '').split('\n')) {
    const trimmed = line.trim();
    const header = /^\[(.+)\]$/.exec(trimmed)?.[1];
    if (header !== undefined) {
      missing();
      group = groups.has(header) ? header : '';
      if (group && !written.has(group)) written.set(group, new Set());
      const keys = groups.get(header);
      const seen = written.get(header);
      missing = () => insertKeys(lines, keys, seen);
    }
    if (group === '') continue; // of a group that is gone
    const equals = line.indexOf('=');
    if (header !== undefined || group === null || trimmed === '' || trimmed.startsWith('#') || equals < 1) {
      lines.push(line);
      continue;
    }
    const key = line.slice(0, equals).trim();
    const value = groups.get(group)!.get(key);
    if (value === undefined || written.get(group)!.has(key)) continue;
    written.get(group)!.add(key);
    lines.push(value === line.slice(equals + 1).trim() ? line : `${key}=${value}`);
  }
  missing();
  const added = new Map([...groups].filter(([name]) => !written.has(name)));
  while (lines.at(-1)?.trim() === '') lines.pop();
  if (lines.length > 0 && added.size > 0) lines.push('');
  return (lines.length > 0 ? `${lines.join('\n')}\n` : '') + formatKeyFile(added);
}

/** Adds the keys of a group that its part of the file lacks, before the blank lines that end it. */
function insertKeys(
  lines: string[],
  keys: ReadonlyMap<string, string> | undefined,
  seen: Set<string> | undefined,
): void {
  if (!keys || !seen) return;
  let at = lines.length;
  while (at > 0 && lines[at - 1]!.trim() === '') at--;
  const added = [...keys].filter(([key]) => !seen.has(key));
  for (const [key] of added) seen.add(key);
  lines.splice(at, 0, ...added.map(([key, value]) => `${key}=${value}`));
}

/** A string as a key file holds it (`g_key_file_set_string`): on one line, its first blanks kept. */
export function escapeKeyFileString(text: string): string {
  return text
    .replaceAll('\\', '\\\\')
    .replaceAll('\n', '\\n')
    .replaceAll('\r', '\\r')
    .replace(/^[ \t]+/, (blanks) => blanks.replaceAll(' ', '\\s').replaceAll('\t', '\\t'));
}

const ESCAPES: Record<string, string> = { s: ' ', n: '\n', t: '\t', r: '\r', '\\': '\\' };

/** The string that a key file holds (`g_key_file_get_string`). What is no escape stays. */
export function unescapeKeyFileString(text: string): string {
  return text.replace(/\\([sntr\\])/g, (_, letter: string) => ESCAPES[letter]!);
}

/** Whether a group can have this name. */
export function isKeyFileGroup(name: string): boolean {
  return /^[^[\]\p{Cc}]+$/u.test(name);
}

/** Whether a key can have this name. */
export function isKeyFileKey(name: string): boolean {
  return /^[^=[\]#\p{Cc}]+$/u.test(name) && name.trim() === name;
}
