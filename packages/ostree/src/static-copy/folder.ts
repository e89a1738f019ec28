import { mkdirSync, readdirSync, rmSync } from 'node:fs';
import { join, relative, resolve } from 'node:path';
import { OstreeError, systemCode } from '../errors.ts';
import { formatKeyFile, type KeyFile } from '../formats/keyfile.ts';
import { writeFileDurably } from '../fs/durable.ts';
import { takeFileTurn } from '../repo/lock.ts';
import { openRepo, type Repo } from '../repo/repo.ts';
import { readIfThere } from './inventory.ts';

/** What an export needs to remember, in the copy itself; web servers have no use for it. */
export const NOTES = '.treeline-export';

const PARTS = ['objects', 'refs/heads', 'refs/mirrors', 'refs/remotes', 'state', 'tmp'];

/** A copy that this process has for itself. */
export interface OpenCopy {
  repo: Repo;
  /** Files may wait here. */
  waiting: string;
  release(): void;
}

/**
 * Opens a copy, or makes one of an empty folder. What an export that was killed has left in it is removed.
 *
 * @throws OstreeError `exists` for a folder that holds something else, `invalid` for one in the repository itself, or
 *   around it
 */
export async function openCopy(source: Repo, folder: string, signal?: AbortSignal): Promise<OpenCopy> {
  const [from, to] = [resolve(source.path), resolve(folder)];
  if (isWithin(from, to) || isWithin(to, from)) {
    throw new OstreeError('invalid', `${folder}: a copy of ${source.path} cannot be in the same place`);
  }
  const notes = join(to, NOTES);
  if (!readIfThere(join(notes, 'lock'))) {
    const others = namesIn(to).filter((name) => name !== NOTES);
    if (others.length > 0) {
      throw new OstreeError('exists', `${folder}: holds something else: ${others.slice(0, 3).join(', ')}`, {
        hint: 'Choose an empty folder, or one that an export has made.',
      });
    }
  }
  mkdirSync(notes, { recursive: true });
  const turn = await takeFileTurn(join(notes, 'lock'), signal);
  try {
    // Of some, libostree says that it is no repository without them.
    for (const part of PARTS) mkdirSync(join(to, part), { recursive: true });
    const waiting = join(notes, 'waiting');
    rmSync(waiting, { recursive: true, force: true });
    mkdirSync(waiting);
    const config = formatKeyFile(publicConfig(source));
    if (readIfThere(join(to, 'config'))?.toString() !== config) await writeFileDurably(join(to, 'config'), config);
    return { repo: await openRepo(to), waiting, release: turn };
  } catch (error) {
    turn();
    throw error;
  }
}

/** Of a repository's configuration, what its clients may know: not its remotes, and how to get into these. */
function publicConfig({ config }: Repo): KeyFile {
  const told = ['repo_version', 'mode', 'collection-id', 'indexed-deltas', 'tombstone-commits'];
  const core = [...(config.get('core') ?? [])].filter(([key]) => told.includes(key));
  return new Map([['core', new Map(core)]]);
}

function isWithin(folder: string, path: string): boolean {
  const way = relative(folder, path);
  return way === '' || !way.startsWith('..');
}

function namesIn(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return [];
    throw error;
  }
}
