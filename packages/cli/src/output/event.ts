import type { ServerEvent } from '../connection/events.ts';
import { paint } from './colour.ts';
import { clockTime } from './duration.ts';
import { stateStyle } from './run.ts';
import { oneLine } from './text.ts';

/** One event as a line for people; null for those that only programs care about. */
export function formatEvent(event: ServerEvent, now: number): string | null {
  const data = (typeof event.data === 'object' && event.data !== null ? event.data : {}) as Record<string, unknown>;
  const [kind = '', what = ''] = event.type.split('.', 2);
  const details = Object.entries(data)
    .filter(([, value]) => typeof value === 'string' || typeof value === 'number')
    .map(([, value]) => String(value))
    .join('  ');
  return `${paint('dim', clockTime(now))}  ${kind.padEnd(8)} ${paint(stateStyle(what), what.padEnd(10))} ${oneLine(details)}`;
}
