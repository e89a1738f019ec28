import type { Stats } from 'node:fs';
import { chmod, cp, lstat, mkdir, readdir, readFile, readlink, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { systemCode } from '../../errors.ts';

export interface EtcMerge {
  /** `/usr/etc` of the new tree: what it ships. */
  shipped: string;
  /** Where the new /etc goes; must not exist. */
  into: string;
  /** `/usr/etc` and `/etc` of the deployment that ran before: their difference is what was changed on the board. */
  before: { shipped: string; current: string } | null;
}

/**
 * libostree's three-way merge of /etc: the new tree's files, then everything that was added, changed or removed on the
 * board. Local changes win, whole file by whole file.
 */
export async function mergeEtc(o: EtcMerge): Promise<void> {
  if (await look(o.shipped)) await copy(o.shipped, o.into);
  else await mkdir(o.into, { recursive: true });
  if (o.before !== null) await carry(o.before.shipped, o.before.current, o.into);
}

/** Applies to `into` what turned folder `from` into folder `to`. */
async function carry(from: string, to: string, into: string): Promise<void> {
  const names = new Set([...(await list(from)), ...(await list(to))]);
  for (const name of names) {
    const [before, after] = [await look(join(from, name)), await look(join(to, name))];
    const target = join(into, name);
    if (after === null) {
      await rm(target, { recursive: true, force: true });
    } else if (before?.isDirectory() && after.isDirectory()) {
      const there = await look(target);
      if (there === null || !there.isDirectory()) {
        // The new tree no longer has this folder: it comes back only for what was changed in it.
        if (!(await differs(join(from, name), join(to, name)))) continue;
        await rm(target, { force: true });
        await mkdir(target);
      }
      if ((before.mode & 0o7777) !== (after.mode & 0o7777)) await chmod(target, after.mode & 0o7777);
      await carry(join(from, name), join(to, name), target);
    } else if (before === null || !(await sameLeaf(join(from, name), before, join(to, name), after))) {
      await rm(target, { recursive: true, force: true });
      await copy(join(to, name), target);
    }
  }
}

async function differs(from: string, to: string): Promise<boolean> {
  const names = new Set([...(await list(from)), ...(await list(to))]);
  for (const name of names) {
    const [before, after] = [await look(join(from, name)), await look(join(to, name))];
    if (before === null || after === null) return true;
    if (before.isDirectory() && after.isDirectory()) {
      if (await differs(join(from, name), join(to, name))) return true;
    } else if (!(await sameLeaf(join(from, name), before, join(to, name), after))) return true;
  }
  return false;
}

async function sameLeaf(a: string, before: Stats, b: string, after: Stats): Promise<boolean> {
  if ((before.mode & 0o170000) !== (after.mode & 0o170000)) return false;
  if (before.isSymbolicLink()) return (await readlink(a)) === (await readlink(b));
  if ((before.mode & 0o7777) !== (after.mode & 0o7777) || before.size !== after.size) return false;
  return !before.isFile() || (await readFile(a)).equals(await readFile(b));
}

function copy(from: string, to: string): Promise<void> {
  return cp(from, to, { recursive: true, verbatimSymlinks: true, preserveTimestamps: true });
}

async function list(dir: string): Promise<string[]> {
  try {
    return await readdir(dir);
  } catch (error) {
    if (systemCode(error) === 'ENOENT' || systemCode(error) === 'ENOTDIR') return [];
    throw error;
  }
}

async function look(path: string): Promise<Stats | null> {
  try {
    return await lstat(path);
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return null;
    throw error;
  }
}
