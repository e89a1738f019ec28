import { spawnSync } from 'node:child_process';

/**
 * Seconds since 1970 of a date as people write it for ostree: `2026-11-23 12:00:00 +0000`, `@1700000000`, `1 week ago`,
 * `October 25 1985`. ostree takes what GNU date takes, so what is neither ISO nor seconds is for that program to say.
 *
 * @returns null for what is no date
 */
export function parseDate(text: string): number | null {
  const trimmed = text.trim();
  if (/^@-?\d{1,15}(\.\d+)?$/.test(trimmed)) return Math.floor(Number(trimmed.slice(1)));
  if (trimmed === 'now') return Math.floor(Date.now() / 1000);
  if (/^\d{4}-\d\d-\d\d([T ]\d\d:\d\d(:\d\d(\.\d+)?)?( ?(Z|[+-]\d\d:?\d\d))?)?$/.test(trimmed)) {
    // A date without a time is midnight here, where JavaScript would take Greenwich.
    const parsed = Date.parse(trimmed.length === 10 ? `${trimmed} 00:00:00` : trimmed.replace(/ (?=[+-])/, ''));
    if (!Number.isNaN(parsed)) return Math.floor(parsed / 1000);
  }
  if (trimmed === '') return null;
  const { status, stdout } = spawnSync('date', [`--date=${trimmed}`, '+%s'], { encoding: 'utf8' });
  return status === 0 && /^-?\d+\n$/.test(stdout) ? Number(stdout) : null;
}
