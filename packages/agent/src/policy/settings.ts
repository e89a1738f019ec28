import { z } from 'zod';
import { parseWindow, type Window } from './windows.ts';

/** When the board reboots into an update that is ready: at once, within a window, or when a person reboots it. */
export type RebootPolicy = 'immediate' | 'window' | 'manual';

/** What an operator decided for a board. */
export interface Settings {
  /** ms between looks at the server. */
  poll: number;
  /** Maintenance windows; none: always. */
  windows: readonly Window[];
  /** Time zone that windows are in; null: the machine's. */
  timezone: string | null;
  download: {
    /** Bytes a second; null: no limit. */
    limit: number | null;
    when: 'always' | 'window';
  };
  reboot: RebootPolicy;
  health: {
    /** ms for each check. */
    timeout: number;
  };
  hooks: {
    /** ms for each hook. */
    timeout: number;
  };
  /** Whether objects on disk are checked before a release is built on them. */
  verify: boolean;
  /** Whether states are also written to the machine's console. */
  console: boolean;
  /** Whether a clock that cannot be right is set to what the server says. */
  clock: 'set' | 'leave';
}

const UNITS: Record<string, number> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 };
const SIZES: Record<string, number> = { b: 1, kb: 1e3, mb: 1e6, gb: 1e9, kib: 1024, mib: 1024 ** 2, gib: 1024 ** 3 };

/** `90`, `90s`, `5m`, `1h`: in ms. */
const Duration = z.union([z.number(), z.string()]).transform((value, context) => {
  const match = /^([0-9]+(?:\.[0-9]+)?)\s*(ms|s|m|h|d)?$/.exec(String(value).trim());
  if (match !== null) return Number(match[1]) * (UNITS[match[2] ?? 's'] ?? 1);
  context.addIssue({ code: 'custom', message: `"${value}" is no time: expected for example 90s, 5m or 1h` });
  return z.NEVER;
});
const between = (least: number, most: number, words: string) =>
  Duration.refine((value) => value >= least && value <= most, `expected ${words}`);

/** `500kB`, `2 MB`, `1MiB`, with or without `/s`; plain bytes. Below 16 kB/s other parts of an update time out. */
const Rate = z
  .union([z.number(), z.string()])
  .transform((value, context) => {
    const match = /^([0-9]+(?:\.[0-9]+)?)\s*([kmg]?i?b)?(?:\/s)?$/i.exec(String(value).trim());
    if (match !== null) return Number(match[1]) * (SIZES[(match[2] ?? 'b').toLowerCase()] ?? 1);
    context.addIssue({
      code: 'custom',
      message: `"${value}" is no rate: expected for example 500kB or 2MB (a second)`,
    });
    return z.NEVER;
  })
  .refine((value) => value >= 16_000, 'expected 16kB or more');

const WindowText = z.string().transform((text, context): Window => {
  const window = parseWindow(text);
  if (window !== null) return window;
  context.addIssue({ code: 'custom', message: `"${text}" is no window: expected for example "Mon-Fri 22:00-05:00"` });
  return z.NEVER;
});

const TimeZone = z.string().refine((zone) => {
  try {
    new Intl.DateTimeFormat('en', { timeZone: zone });
    return true;
  } catch {
    return false;
  }
}, 'expected the name of a time zone, for example Europe/Berlin');

/** Each key by itself: what is wrong with one says nothing about the others. */
const KEYS = {
  poll: between(1000, 7 * UNITS.d!, 'a time from 1s to 7d'),
  windows: z.array(WindowText),
  timezone: TimeZone,
  download: z.strictObject({ limit: Rate.nullable().optional(), when: z.enum(['always', 'window']).optional() }),
  reboot: z.enum(['immediate', 'window', 'manual']),
  health: z.strictObject({ timeout: between(1000, UNITS.d!, 'a time from 1s to 1d').optional() }),
  hooks: z.strictObject({ timeout: between(1000, UNITS.h!, 'a time from 1s to 1h').optional() }),
  verify: z.boolean(),
  console: z.boolean(),
  clock: z.enum(['set', 'leave']),
} as const;
type Key = keyof typeof KEYS;

/** All that has not been decided. */
function defaults(): Settings {
  return {
    poll: 60_000,
    windows: [],
    timezone: null,
    download: { limit: null, when: 'always' },
    reboot: 'immediate',
    health: { timeout: 60_000 },
    hooks: { timeout: 60_000 },
    verify: true,
    console: false,
    clock: 'set',
  };
}

/**
 * Settings from what a file holds. A key that makes no sense is left out, and what it was before counts: a slip must
 * neither stop updates for ever nor open what was closed.
 *
 * @param before what counts for keys that are given but make no sense
 * @returns the settings, and what is wrong, a line each
 */
export function readSettings(
  content: unknown,
  before: Settings = defaults(),
): { settings: Settings; problems: string[] } {
  const problems: string[] = [];
  const good: Partial<Record<Key, unknown>> = {};
  if (content !== null && content !== undefined) {
    if (typeof content !== 'object' || Array.isArray(content)) {
      problems.push('expected keys and values');
      content = {};
    }
    for (const [key, value] of Object.entries(content as Record<string, unknown>)) {
      if (!Object.hasOwn(KEYS, key)) {
        problems.push(`${key}: there is no such key; known are ${Object.keys(KEYS).join(', ')}`);
        continue;
      }
      const parsed = KEYS[key as Key].safeParse(value);
      if (parsed.success) good[key as Key] = parsed.data;
      else {
        for (const { path, message } of parsed.error.issues) problems.push(`${[key, ...path].join('.')}: ${message}`);
        good[key as Key] = before[key as Key];
      }
    }
  }
  const base = defaults();
  const merged = { ...base, ...good } as Settings;
  for (const key of ['download', 'health', 'hooks'] as const) {
    const given = Object.fromEntries(
      Object.entries((good[key] ?? {}) as Record<string, unknown>).filter(([, value]) => value !== undefined),
    );
    Object.assign(merged, { [key]: { ...base[key], ...given } });
  }
  if (good.reboot === undefined && merged.windows.length > 0) merged.reboot = 'window';
  return { settings: Object.freeze(merged), problems };
}
