import { isDeepStrictEqual } from 'node:util';
import type { Core } from './core.ts';
import type { Settings } from './settings.ts';

/** Settings that a running server can take over; all others are looked at once, at its start. */
const LIVE = [
  'defaultLabel',
  'logLevel',
  'maxAttempts',
  'pollSeconds',
  'retentionSeconds',
  'storeGraceDays',
  'unusedDays',
] as const satisfies readonly (keyof Settings)[];

/** What became of settings that were read again. */
export interface Reloaded {
  /** Names of those that count from now on. */
  changed: string[];
  /** Names of those that are others than before, and count at the next start. */
  later: string[];
}

/** Takes over of settings what a running server can, and writes down what that was. */
export async function reloadSettings(core: Core, wanted: Settings): Promise<Reloaded> {
  const before = core.settings;
  const names = Object.keys(wanted) as (keyof Settings)[];
  const different = names.filter((name) => !isDeepStrictEqual(before[name], wanted[name]));
  const changed = LIVE.filter((name) => different.includes(name));
  const later = different.filter((name) => !(LIVE as readonly string[]).includes(name));
  if (changed.length > 0) {
    const taken = Object.fromEntries(changed.map((name) => [name, wanted[name]])) as Partial<Settings>;
    core.settings = Object.freeze({ ...before, ...taken });
    core.log.level = core.settings.logLevel;
    await core.audit.record({ caller: null, action: 'settings.change', subject: 'server', data: taken });
  }
  core.log.info({ changed, later }, 'the settings were read again');
  return { changed, later };
}
