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
