import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { writeFileDurably } from '@treeline/ostree/fs/durable.ts';
import type { DeviceClock } from '../clock/device-clock.ts';
import { messageOf, systemCode } from '../errors.ts';
import { askHooks, findLock } from './hooks.ts';
import { readSettings, type Settings } from './settings.ts';
import { isOpen } from './windows.ts';

/** What the operator of a board lets the agent do, and when. Read anew at each question: nobody restarts an agent. */
export interface Policy {
  /** Settings as they are now; what is wrong with the file is told once. */
  settings(): Promise<Settings>;
  /** What is wrong with the settings; empty when nothing is. */
  readonly problems: readonly string[];
  /** Why a release must not be fetched now; null if it may. */
  mayDownload(release: string): Promise<string | null>;
  /** Why the board must not reboot into a release now; null if it may. */
  mayReboot(release: string): Promise<string | null>;
}

/** Where an operator's files are. */
export interface PolicyPlaces {
  /** `agent.yaml` and `hooks/` are in it. */
  folder: string;
  /** Any file in it holds updates back; gone with a reboot. */
  locks: string;
  /** Folder of the agent's own: what the file said when it last made sense is kept there. */
  memory: string;
}

const HOOK_PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';

export function createPolicy(o: {
  places: PolicyPlaces;
  clock: DeviceClock;
  /** Why a person wants the board to stay as it is; null if nobody does. */
  pinned(): string | null;
  onWarning(message: string): void;
  signal?: AbortSignal | undefined;
}): Policy {
  const file = join(o.places.folder, 'agent.yaml');
  const lastGood = join(o.places.memory, 'agent.yaml.good');
  let known: { text: string | null; settings: Settings; problems: string[] } = { text: null, ...readSettings(null) };

  const settings = async (): Promise<Settings> => {
    const text = await readFile(file, 'utf8').catch((error: unknown) => {
      if (systemCode(error) === 'ENOENT' || systemCode(error) === 'ENOTDIR') return null;
      o.onWarning(`${file} cannot be read: ${messageOf(error)}`);
      return known.text;
    });
    if (text === known.text) return known.settings;
    known = { text, ...(text === null ? readSettings(null) : await parse(text, lastGood)) };
    for (const problem of known.problems) o.onWarning(`${file}: ${problem}`);
    if (known.problems.length === 0 && text !== null) await writeFileDurably(lastGood, text).catch(() => {});
    return known.settings;
  };

  const closed = ({ windows, timezone }: Settings): string | null => {
    if (isOpen(windows, { at: o.clock.now(), timeZone: timezone })) return null;
    const zone = timezone === null ? '' : ` (${timezone})`;
    return `maintenance window: ${windows.map((window) => window.text).join(', ')}${zone}`;
  };

  const ask = async (step: string, release: string): Promise<string | null> => {
    const lock = await findLock(o.places.locks);
    if (lock !== null) return lock;
    const environment = { PATH: HOOK_PATH, HOME: '/root', LANG: 'C.UTF-8', TREELINE_RELEASE: release };
    const { timeout } = (await settings()).hooks;
    const folder = join(o.places.folder, 'hooks', `${step}.d`);
    return askHooks(folder, { environment, timeoutMs: timeout, signal: o.signal });
  };

  return {
    settings,
    get problems() {
      return known.problems;
    },
    async mayDownload(release) {
      const pinned = o.pinned();
      if (pinned !== null) return `pinned: ${pinned}`;
      const now = await settings();
      const outside = now.download.when === 'window' ? closed(now) : null;
      return outside ?? ask('pre-update', release);
    },
    async mayReboot(release) {
      const pinned = o.pinned();
      if (pinned !== null) return `pinned: ${pinned}`;
      const now = await settings();
      const outside = now.reboot === 'window' ? closed(now) : null;
      return outside ?? ask('pre-reboot', release);
    },
  };
}

async function parse(text: string, lastGood: string): Promise<{ settings: Settings; problems: string[] }> {
  // Most boards have no such file, and need no reader.
  const { parseDocument } = await import('yaml');
  const read = (yaml: string, before?: Settings) => {
    const document = parseDocument(yaml, { prettyErrors: true });
    const [error] = document.errors;
    if (error === undefined) return readSettings(document.toJS(), before);
    return { settings: before ?? readSettings(null).settings, problems: [error.message.split('\n')[0] ?? 'not YAML'] };
  };
  const first = read(text);
  if (first.problems.length === 0) return first;
  const before = await readFile(lastGood, 'utf8').catch(() => null);
  return before === null ? first : read(text, read(before).settings);
}
