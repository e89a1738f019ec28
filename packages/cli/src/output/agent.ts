import {
  type AgentProgress,
  type AgentStatus,
  type Field,
  type Look,
  lookInWords,
  progressInWords,
  type Said,
  statusInWords,
} from '@treeline/agent';
import { paint, type Style } from './colour.ts';
import { deviceStyle } from './device.ts';
import { clockTime } from './duration.ts';
import { fields } from './fields.ts';
import { manyLines, oneLine } from './text.ts';

const STYLES: Record<string, Style> = { busy: 'blue', good: 'green', warn: 'yellow', bad: 'red' };

/** One thing that the agent did, as a line; null for what is not worth one. */
export function progressLine(progress: AgentProgress, now: number): string | null {
  const said = progressInWords(progress);
  if (said === null) return null;
  const label = paint(styleOf(said), said.label.padEnd(11));
  const output = said.output === '' ? '' : `\n${manyLines(said.output).replace(/^/gm, '                         │ ')}`;
  return `${paint('dim', clockTime(now))}  ${`${label}  ${oneLine(said.text)}`.trimEnd()}${output}`;
}

/** What a board knows of itself. */
export function formatAgentStatus(status: AgentStatus, now: number): string {
  return fields(statusInWords(status, now).map((field) => [field.label, shown(field)]));
}

/** What a look at the server found. */
export function formatLook(look: Look): string {
  return fields(lookInWords(look).map((field) => [field.label, shown(field)]));
}

function shown({ label, value, tone }: Field): string {
  const text = oneLine(value);
  if (label === 'device') return paint('bold', text);
  if (tone === undefined) return text;
  // A state's own name is coloured, what there is to say about it is not.
  const [, word = '', rest = ''] = tone === 'warn' ? ['', text, ''] : (/^(\S+)(.*)$/.exec(text) ?? []);
  return `${paint(tone === 'warn' ? 'yellow' : deviceStyle(tone), word)}${rest}`;
}

function styleOf({ label, tone }: Said): Style {
  return label === tone ? deviceStyle(tone) : (STYLES[tone] ?? 'dim');
}
