/** A time in each of some days of the week in which a board may be disturbed. */
export interface Window {
  /** As it was written. */
  text: string;
  /** 0 is Sunday. */
  days: readonly number[];
  /** Minutes since midnight; an end before the beginning is on the next day. */
  from: number;
  to: number;
}

const DAYS = ['sun', 'mon', 'tue', 'wed', 'thu', 'fri', 'sat'];
const ALL = [0, 1, 2, 3, 4, 5, 6];

/** Reads `Mon-Fri 22:00-05:00`, `Sat,Sun 00:00-24:00`, or a time alone for every day; null for anything else. */
export function parseWindow(text: string): Window | null {
  const match = /^(?:([A-Za-z,-]+)\s+)?(\d{1,2}):(\d{2})\s*-\s*(\d{1,2}):(\d{2})$/.exec(text.trim());
  if (match === null) return null;
  const days = match[1] === undefined ? ALL : parseDays(match[1]);
  const [from, to] = [minutes(match[2], match[3]), minutes(match[4], match[5])];
  if (days === null || from === null || to === null || from === to || from === 24 * 60) return null;
  return { text: text.trim(), days, from, to };
}

/** Whether a moment lies in one of the windows, by the clocks of a time zone. No windows: always. */
export function isOpen(windows: readonly Window[], o: { at: number; timeZone: string | null }): boolean {
  if (windows.length === 0) return true;
  const { day, minute } = localTime(o.at, o.timeZone);
  const before = (day + 6) % 7;
  return windows.some(({ days, from, to }) => {
    if (from < to) return days.includes(day) && minute >= from && minute < to;
    return (days.includes(day) && minute >= from) || (days.includes(before) && minute < to);
  });
}

function localTime(at: number, timeZone: string | null): { day: number; minute: number } {
  const format = new Intl.DateTimeFormat('en-US', {
    ...(timeZone === null ? {} : { timeZone }),
    ...{ weekday: 'short', hour: '2-digit', minute: '2-digit', hourCycle: 'h23' },
  });
  const parts = new Map(format.formatToParts(at).map(({ type, value }) => [type, value]));
  return {
    day: DAYS.indexOf((parts.get('weekday') ?? '').toLowerCase()),
    minute: Number(parts.get('hour')) * 60 + Number(parts.get('minute')),
  };
}

function parseDays(text: string): number[] | null {
  const days = new Set<number>();
  for (const part of text.toLowerCase().split(',')) {
    const [first, last = first, ...rest] = part.split('-').map((day) => DAYS.indexOf(day));
    if (first === undefined || last === undefined || first < 0 || last < 0 || rest.length > 0) return null;
    for (let day = first; ; day = (day + 1) % 7) {
      days.add(day);
      if (day === last) break;
    }
  }
  return [...days].sort((a, b) => a - b);
}

function minutes(hours: string | undefined, rest: string | undefined): number | null {
  const value = Number(hours) * 60 + Number(rest);
  return Number(rest) < 60 && value <= 24 * 60 ? value : null;
}
