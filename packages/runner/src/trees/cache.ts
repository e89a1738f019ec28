import { renameSync, rmSync } from 'node:fs';
import { mkdir, readdir, readFile, rename, stat, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Tree } from '../protocol.ts';
import { diskUsage } from '../sandbox/usage.ts';
import { removeTree } from './remove.ts';

/** A checkout in use: nothing evicts it before `release`. */
export type HeldTree = { path: string; release: () => void };

/** Whether files of a checkout all belong to the runner, or to the ids that root jobs see as their owners. */
export type Owners = 'runner' | 'own';

export interface TreeCache {
  /** A read-only checkout of a tree, shared with all others who want it; made if there is none. */
  acquire(tree: Tree, owners?: Owners): Promise<HeldTree>;
  /** Removes checkouts that nobody uses, least recently used first, until the rest takes no more than `bytes`. */
  evict(bytes: number): Promise<void>;
}

export type TreeCacheOptions = {
  dir: string;
  maxBytes: number;
  /** Writes a tree into a new folder. */
  checkout: (tree: Tree, dest: string, owners: Owners) => Promise<void>;
  /** Removes a checkout, or what there is of one. */
  remove?: (path: string) => Promise<void>;
};

type Entry = { size: number; lastUsed: number; holders: number; ready: Promise<void> | null };

const WHOLE = /^[0-9a-f]{64}-[0-9a-f]{64}(-own)?$/;

/**
 * Opens the folder of checkouts. A checkout is made under a temporary name and renamed when whole, and renamed away
 * before it is removed: one under its own name is whole, however the last runner ended. Checkouts are not
 * forced to the disk, so after a reboot of the machine (which may have lost power) all are made anew.
 */
export async function openTreeCache(o: TreeCacheOptions): Promise<TreeCache> {
  await mkdir(o.dir, { recursive: true, mode: 0o700 });
  const remove = o.remove ?? removeTree;
  const entries = await readEntries(o.dir, remove);
  let serial = 0;

  const make = async (key: string, tree: Tree, owners: Owners): Promise<number> => {
    const temporary = join(o.dir, `.tmp-${process.pid}-${++serial}`);
    try {
      await o.checkout(tree, temporary, owners);
      const { bytes } = await diskUsage([temporary]);
      await writeFile(join(o.dir, `${key}.size`), `${bytes}\n`);
      await rename(temporary, join(o.dir, key));
      return bytes;
    } catch (error) {
      await remove(temporary);
      throw error;
    }
  };

  const makeWithSpace = async (key: string, tree: Tree, owners: Owners): Promise<number> => {
    try {
      return await make(key, tree, owners);
    } catch (error) {
      if (!isNoSpace(error)) throw error;
      await evict(0);
      return await make(key, tree, owners);
    }
  };

  const evict = async (bytes: number): Promise<void> => {
    const total = (): number => [...entries.values()].reduce((sum, entry) => sum + entry.size, 0);
    const unused = [...entries].filter(([, entry]) => entry.holders === 0 && entry.ready === null);
    unused.sort(([, a], [, b]) => a.lastUsed - b.lastUsed);
    for (const [key, entry] of unused) {
      if (total() <= bytes) return;
      // Somebody may have come for it while the one before it was being removed.
      if (entry.holders > 0) continue;
      // At one stroke, or somebody could make the same checkout anew under the name that is still taken.
      const trash = join(o.dir, `.trash-${process.pid}-${++serial}`);
      renameSync(join(o.dir, key), trash);
      rmSync(join(o.dir, `${key}.size`), { force: true });
      entries.delete(key);
      await remove(trash);
    }
  };

  const acquire = async (tree: Tree, owners: Owners = 'runner'): Promise<HeldTree> => {
    const key = `${tree.contents}-${tree.meta}${owners === 'own' ? '-own' : ''}`;
    let entry = entries.get(key);
    if (!entry) {
      const made: Entry = { size: 0, lastUsed: Date.now(), holders: 0, ready: null };
      entry = made;
      entries.set(key, made);
      made.ready = makeWithSpace(key, tree, owners).then(
        (size) => {
          made.size = size;
          made.ready = null;
        },
        (error) => {
          entries.delete(key);
          throw error;
        },
      );
    }
    entry.holders++;
    try {
      await entry.ready;
    } catch (error) {
      entry.holders--;
      throw error;
    }
    const held = entry;
    held.lastUsed = Date.now();
    const now = new Date();
    await utimes(join(o.dir, `${key}.size`), now, now).catch(() => {});
    await evict(o.maxBytes);
    let released = false;
    return {
      path: join(o.dir, key),
      release: () => {
        if (released) return;
        released = true;
        held.holders--;
      },
    };
  };

  return { acquire, evict };
}

/** Whole checkouts of earlier runs; all else in the folder is removed. */
async function readEntries(dir: string, remove: (path: string) => Promise<void>): Promise<Map<string, Entry>> {
  const bootFile = join(dir, 'boot-id');
  const boot = await readFile('/proc/sys/kernel/random/boot_id', 'utf8');
  const sameBoot = (await readFile(bootFile, 'utf8').catch(() => '')) === boot;
  const entries = new Map<string, Entry>();
  const names = new Set(await readdir(dir));
  for (const name of names) {
    const path = join(dir, name);
    if (sameBoot && WHOLE.test(name)) {
      const size = Number.parseInt(await readFile(`${path}.size`, 'utf8').catch(() => ''), 10);
      const used = await stat(`${path}.size`).catch(() => null);
      entries.set(name, {
        size: Number.isNaN(size) ? (await diskUsage([path])).bytes : size,
        lastUsed: used?.mtimeMs ?? 0,
        holders: 0,
        ready: null,
      });
    } else if (!(sameBoot && name.endsWith('.size') && names.has(name.slice(0, -'.size'.length)))) {
      await remove(path);
    }
  }
  await writeFile(bootFile, boot);
  return entries;
}

function isNoSpace(error: unknown): boolean {
  for (let at: unknown = error; at instanceof Error; at = at.cause) {
    const { code } = at as NodeJS.ErrnoException;
    if (code === 'ENOSPC' || code === 'EDQUOT' || code === 'no-space') return true;
  }
  return false;
}
