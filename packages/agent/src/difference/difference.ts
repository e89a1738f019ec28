import type { Stats } from 'node:fs';
import { lstat, readdir, readFile, readlink } from 'node:fs/promises';
import { join } from 'node:path';

/** Something on a board that is not as its commit has it. */
export interface Change {
  /** As the board has it: `/etc/app.conf`, `/usr/bin/app`. */
  path: string;
  change: 'added' | 'changed' | 'removed';
  type: 'file' | 'folder' | 'symlink' | 'other' | null;
  /** Permissions, owner and size as they are now; null where it is removed. */
  mode: number | null;
  uid: number | null;
  gid: number | null;
  size: number | null;
  /** Where a symlink points. */
  target: string | null;
  /** Base64 of a file's content; null where it is left out, see `omitted`. */
  content: string | null;
  /** `secret`: only its owner may read it, so it stays on the board; `large`: there was no room for it. */
  omitted: 'secret' | 'large' | null;
}

export interface Difference {
  changes: Change[];
  /** False: there were more changes than are told. */
  complete: boolean;
}

/** What a request of the gateway may hold, with room for Base64. */
export const LIMITS = { changes: 5000, contentBytes: 2 * 1024 ** 2 };

/** libostree gives all that it checks out this time, in seconds; what has another was written by somebody else. */
const CHECKED_OUT = 1;

/**
 * What was changed by hand on a board: /etc against the /usr/etc that its deployment ships, and what was written to /usr
 * of the deployment (possible where it was unlocked, and on virtual boards).
 *
 * @param place the running deployment: its root, and its /etc on this machine
 */
export async function findDifference(
  place: { root: string; etc: string },
  { limits = LIMITS, signal }: { limits?: typeof LIMITS; signal?: AbortSignal | undefined } = {},
): Promise<Difference> {
  const found: Difference = { changes: [], complete: true };
  const room = { bytes: limits.contentBytes };
  const add = async (change: Change['change'], path: string, from: string, stats: Stats | null): Promise<boolean> => {
    signal?.throwIfAborted();
    if (found.changes.length >= limits.changes) {
      found.complete = false;
      return false;
    }
    found.changes.push(await describe(change, { path, from, stats, room }));
    return true;
  };

  /** Compares two folders, `before` being what was shipped. */
  const compare = async (before: string, after: string, shown: string): Promise<void> => {
    const names = new Set([...(await list(before)), ...(await list(after))]);
    for (const name of [...names].sort()) {
      const [from, to, path] = [join(before, name), join(after, name), `${shown}/${name}`];
      const [old, now] = [await look(from), await look(to)];
      if (now === null) await add('removed', path, from, null);
      else if (old === null) {
        await add('added', path, to, now);
        if (now.isDirectory()) await compare(from, to, path);
      } else if (old.isDirectory() && now.isDirectory()) {
        if (!sameOwner(old, now)) await add('changed', path, to, now);
        await compare(from, to, path);
      } else if (!(await same(from, old, to, now))) await add('changed', path, to, now);
    }
  };
  /** Finds what was written to a folder after it was checked out. */
  const written = async (folder: string, shown: string): Promise<void> => {
    for (const name of await list(folder)) {
      const [from, path] = [join(folder, name), `${shown}/${name}`];
      const stats = await look(from);
      if (stats === null || path === '/usr/etc') continue;
      if (stats.isDirectory()) await written(from, path);
      else if (Math.floor(stats.mtimeMs / 1000) > CHECKED_OUT && !(await add('changed', path, from, stats))) return;
    }
  };
  await compare(join(place.root, 'usr/etc'), place.etc, '/etc');
  await written(join(place.root, 'usr'), '/usr');
  return found;
}

async function describe(
  change: Change['change'],
  o: { path: string; from: string; stats: Stats | null; room: { bytes: number } },
): Promise<Change> {
  const { path, from, stats, room } = o;
  const nothing = {
    type: null,
    mode: null,
    uid: null,
    gid: null,
    size: null,
    target: null,
    content: null,
    omitted: null,
  };
  if (stats === null) return { path, change, ...nothing };
  const { mode, uid, gid, size } = stats;
  const about = { path, change, ...nothing, mode: mode & 0o7777, uid, gid, size };
  if (stats.isSymbolicLink()) return { ...about, type: 'symlink', target: await readlink(from) };
  if (stats.isDirectory()) return { ...about, type: 'folder', size: null };
  if (!stats.isFile()) return { ...about, type: 'other' };
  if ((mode & 0o044) === 0) return { ...about, type: 'file', omitted: 'secret' };
  if (size > room.bytes) return { ...about, type: 'file', omitted: 'large' };
  const content = await readFile(from);
  room.bytes -= content.length;
  return { ...about, type: 'file', content: content.toString('base64') };
}

async function same(from: string, old: Stats, to: string, now: Stats): Promise<boolean> {
  if (!sameOwner(old, now)) return false;
  if (old.isSymbolicLink()) return (await readlink(from)) === (await readlink(to));
  if (!old.isFile()) return true;
  if (old.size !== now.size) return false;
  return (await readFile(from)).equals(await readFile(to));
}

/** Also the same type. */
function sameOwner(old: Stats, now: Stats): boolean {
  return old.mode === now.mode && old.uid === now.uid && old.gid === now.gid;
}

async function list(folder: string): Promise<string[]> {
  const names: string[] = await readdir(folder).catch(() => []);
  return names.sort();
}

async function look(path: string): Promise<Stats | null> {
  return await lstat(path).catch(() => null);
}
