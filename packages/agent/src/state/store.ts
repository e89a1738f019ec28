import { existsSync } from 'node:fs';
import { readFile, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { writeFileDurably } from '@treeline/ostree/fs/durable.ts';
import { systemCode } from '../errors.ts';
import { START } from '../machine/index.ts';
import { StateFile } from './schema.ts';

const FILE = 'state.json';
/** Room that is kept for the state, so that a board whose disk is full can still say so, and go on when it no longer is. */
const RESERVE = 'reserve';
const RESERVE_BYTES = 256 * 1024;

export const EMPTY: StateFile = {
  version: 1,
  machine: START,
  outbox: [],
  checkedAt: null,
  lastError: null,
  transfer: null,
  pointed: null,
  planned: null,
  pinned: null,
  handled: null,
  serverTime: null,
};

/** The agent's memory on disk. */
export interface StateStore {
  /** What was last saved. */
  readonly current: StateFile;
  /** When it resolves, the change survives power loss; until then the old state does. */
  save(change: Partial<StateFile>): Promise<void>;
}

/**
 * Opens the state file of a board. A file that cannot be read (the disk lost it: writes are atomic) is set aside and
 * the agent starts afresh: a board that never updates again is worse than one that tries a bad release once more, and
 * the server keeps a list of bad releases, too.
 */
export async function openState(dir: string): Promise<StateStore> {
  const path = join(dir, FILE);
  let current = await read(path);
  if (current === 'unreadable') {
    await rename(path, join(dir, `state.unreadable-${Date.now()}.json`));
    current = EMPTY;
  }
  let saved: StateFile = current;
  const reserve = join(dir, RESERVE);
  const write = (text: string) => writeFileDurably(path, text, { mode: 0o600 });
  return {
    get current() {
      return saved;
    },
    async save(change) {
      const next = { ...saved, ...change };
      const text = `${JSON.stringify(next, null, 1)}\n`;
      try {
        await write(text);
        await keepRoom(reserve);
      } catch (error) {
        if (!isFull(error)) throw error;
        await rm(reserve, { force: true });
        await write(text);
      }
      saved = next;
    },
  };
}

/** Where there is room for it; blocks of zeros are taken like any others. */
async function keepRoom(reserve: string): Promise<void> {
  if (existsSync(reserve)) return;
  await writeFileDurably(reserve, Buffer.alloc(RESERVE_BYTES), { mode: 0o600 }).catch((error: unknown) => {
    if (!isFull(error)) throw error;
  });
}

function isFull(error: unknown): boolean {
  return ['ENOSPC', 'EDQUOT'].includes(systemCode(error) ?? '');
}

/** The state file's content, for looking at a board from outside; null if it has none that can be read. */
export async function readState(dir: string): Promise<StateFile | null> {
  const state = await read(join(dir, FILE));
  return state === 'unreadable' ? null : state;
}

async function read(path: string): Promise<StateFile | 'unreadable'> {
  let text: string;
  try {
    text = await readFile(path, 'utf8');
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return EMPTY;
    throw error;
  }
  try {
    return StateFile.parse(JSON.parse(text));
  } catch {
    return 'unreadable';
  }
}
