import { parse } from 'yaml';

/**
 * What the device printed, out of a LAVA log from a line on: its entries are YAML, one flow map a line, and those of
 * level `target` are the device's. Answers also how many lines there were, for the next call; a last line without an
 * end may be half a line, and is left for then.
 */
export function targetOutput(log: string, from: number): { text: string; lines: number } {
  const lines = log.split('\n').slice(0, -1);
  let text = '';
  for (const line of lines.slice(from)) {
    const entry = entryOf(line);
    if (entry?.lvl === 'target') text += `${String(entry.msg)}\r\n`;
  }
  return { text, lines: lines.length };
}

function entryOf(line: string): { lvl: unknown; msg: unknown } | null {
  try {
    const parsed: unknown = parse(line, { logLevel: 'silent' });
    const [entry] = Array.isArray(parsed) ? (parsed as unknown[]) : [parsed];
    return typeof entry === 'object' && entry !== null && 'lvl' in entry && 'msg' in entry ? entry : null;
  } catch {
    return null;
  }
}
