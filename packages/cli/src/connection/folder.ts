import { readFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { join, resolve } from 'node:path';
import { CliError } from '../errors.ts';

/** What a running server writes to `server.json` in its data folder. */
export type ServerFile = {
  url: string;
  /** For programs on this machine; another one where `url` is HTTPS, whose certificate knows no loopback. */
  local?: string;
  gateway?: string;
  pid?: number;
};

/**
 * The data folder: `--data`, else TREELINE_DATA, else `treeline` in the user's data folder (XDG Base Directory
 * Specification: $XDG_DATA_HOME, default ~/.local/share; a relative one is to be ignored).
 */
export function dataFolder(option: string | undefined, env: NodeJS.ProcessEnv = process.env): string {
  const given = option ?? env.TREELINE_DATA;
  if (given) return resolve(given);
  const xdg = env.XDG_DATA_HOME;
  return join(xdg?.startsWith('/') ? xdg : join(homedir(), '.local', 'share'), 'treeline');
}

/** The data folder as a person would type it: ~ for the home folder. */
export function shortPath(path: string): string {
  const home = homedir();
  return path.startsWith(`${home}/`) ? `~${path.slice(home.length)}` : path;
}

/** `server.json` of a data folder; null when there is none. Throws when there is one that is not understood. */
export function readServerFile(folder: string): ServerFile | null {
  const path = join(folder, 'server.json');
  const text = readIfThere(path);
  if (text === null) return null;
  try {
    const value: unknown = JSON.parse(text);
    if (typeof value === 'object' && value !== null && 'url' in value && typeof value.url === 'string') {
      return value as ServerFile;
    }
  } catch {}
  throw new CliError('failed', `${path} is damaged: it does not say where the server is.`, {
    hint: `Remove it and start the server again: ${upCommand(folder)}`,
  });
}

/** The admin token that the server's first start left in the data folder; null when there is none. */
export function readAdminToken(folder: string): string | null {
  return readIfThere(join(folder, 'admin-token'))?.trim() || null;
}

/** The command that starts the server of this folder. */
export function upCommand(folder: string): string {
  return folder === dataFolder(undefined) ? 'treeline up' : `treeline up --data ${shortPath(folder)}`;
}

function readIfThere(path: string): string | null {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT' || code === 'ENOTDIR') return null;
    if (code === 'EACCES') {
      throw new CliError('not-allowed', `${path} cannot be read: it belongs to another user.`, {
        cause: error,
        hint: 'Run this as the user who started the server, or pass --server URL --token TOKEN.',
      });
    }
    throw error;
  }
}
