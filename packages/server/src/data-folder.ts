import { mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { writeFileDurably } from '@treeline/ostree';
import BetterSqlite from 'better-sqlite3';
import { messageOf, ServerError } from './errors.ts';

/** Where things are in the data folder; see ARCHITECTURE.md. All paths are absolute. */
export interface DataFolder {
  path: string;
  store: string;
  repos: string;
  sources: string;
  runner: string;
  logs: string;
  ca: string;
  /** Secret keys that sign releases, GnuPG home folders, and programs that sign. */
  keys: string;
  adminToken: string;
  runnerToken: string;
  serverFile: string;
}

/** A data folder that this process has for itself. */
export interface LockedDataFolder extends DataFolder {
  unlock(): void;
}

/**
 * Makes what is missing of the data folder and locks it.
 *
 * @throws ServerError `data-folder-busy` when another server has it.
 */
export function lockDataFolder(path: string): LockedDataFolder {
  const folder: DataFolder = {
    path,
    store: join(path, 'store'),
    repos: join(path, 'repos'),
    sources: join(path, 'sources'),
    runner: join(path, 'runner'),
    logs: join(path, 'logs'),
    ca: join(path, 'ca'),
    keys: join(path, 'keys'),
    adminToken: join(path, 'admin-token'),
    runnerToken: join(path, 'runner-token'),
    serverFile: join(path, 'server.json'),
  };
  try {
    // Sources and logs may be confidential: the folder is the server's alone. What is published goes out by HTTP.
    mkdirSync(path, { recursive: true, mode: 0o700 });
    for (const part of [folder.repos, folder.sources, folder.logs]) mkdirSync(part, { recursive: true });
    mkdirSync(folder.keys, { recursive: true, mode: 0o700 });
  } catch (error) {
    throw new ServerError('settings-invalid', `cannot make the data folder ${path}: ${messageOf(error)}`, {
      cause: error,
      hint: 'Choose a folder that you may write to with --data.',
    });
  }
  const unlock = lock(folder);
  return { ...folder, unlock };
}

/**
 * Takes the lock. Node has no flock(2); SQLite's exclusive lock on a file of its own is one that the kernel drops when
 * the process dies, however it dies, so there is never a stale one.
 */
function lock(folder: DataFolder): () => void {
  const holder = new BetterSqlite(join(folder.path, 'lock'), { timeout: 0 });
  try {
    holder.pragma('journal_mode = MEMORY');
    holder.exec('BEGIN EXCLUSIVE');
  } catch (error) {
    holder.close();
    const other = readServerFile(folder);
    throw new ServerError(
      'data-folder-busy',
      `the data folder ${folder.path} is in use by another Treeline server${other ? ` (process ${other.pid}, ${other.url})` : ''}`,
      { cause: error, hint: 'Stop that server, or use another data folder with --data.' },
    );
  }
  return () => holder.close();
}

export interface ServerFile {
  url: string;
  /** The same for programs on this machine. */
  local: string;
  gateway: string | null;
  pid: number;
}

/** What the server of this data folder last said about itself; null when it never started. */
export function readServerFile(folder: DataFolder): ServerFile | null {
  try {
    return JSON.parse(readFileSync(folder.serverFile, 'utf8')) as ServerFile;
  } catch {
    return null;
  }
}

export async function writeServerFile(folder: DataFolder, content: ServerFile): Promise<void> {
  await writeFileDurably(folder.serverFile, `${JSON.stringify(content, null, 2)}\n`);
}
