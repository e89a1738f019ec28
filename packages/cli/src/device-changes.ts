import { lstatSync, type Stats } from 'node:fs';
import { chmod, lchown, lstat, mkdir, rm, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { isOfOneMachine } from '@treeline/board';
import { readXattrs, writeXattrs, type Xattr } from '@treeline/ostree';
import type { DeviceChange } from '@treeline/server';
import { whyOmitted } from './device-difference.ts';
import { CliError } from './errors.ts';

export interface ApplyOptions {
  /** Where a tree has its /etc: `usr/etc` in all but those that have an `etc` instead. */
  etc: 'usr/etc' | 'etc';
  /** Whether files get owners, extended attributes and set-user-id bits: only root can give them. */
  exact: boolean;
  /** `remove` what was removed on the board, or only `tell` it: a layer cannot say so. */
  removals: 'remove' | 'tell';
}

export interface Applied {
  /** How many files, folders and links were written. */
  written: number;
  /** What was removed on the board, as the path is in a tree: `/usr/etc/app.conf`. */
  removed: string[];
  /** What stays on the board, and why. */
  left: { path: string; why: string }[];
  /** Whether something of a file's owner, attributes or bits could not be kept. */
  plain: boolean;
}

/** Bits that only mean something together with an owner. */
const SET_ID_BITS = 0o7000;

/**
 * Makes a folder differ from a commit as a board does: a checkout of that commit, or an empty one. What belongs to the board
 * alone is left out. The board is not trusted with paths of this machine: nothing is written or removed through a symlink.
 *
 * @param changes as the device tells them: parents before what is in them
 * @throws CliError `conflict` where a folder that leads to a change is something else here
 */
export async function applyChanges(
  changes: readonly DeviceChange[],
  folder: string,
  o: ApplyOptions,
): Promise<Applied> {
  const applied: Applied = { written: 0, removed: [], left: [], plain: false };
  const folders: { to: string; change: DeviceChange; old: Old }[] = [];
  for (const change of changes) {
    const parts = partsOf(change.path, o.etc);
    const why = parts === null ? 'no path of a tree' : reasonToLeave(change);
    if (parts === null || why !== null) {
      applied.left.push({ path: change.path, why: why ?? '' });
      continue;
    }
    if (change.change === 'removed') applied.removed.push(`/${parts.join('/')}`);
    if (change.change === 'removed' && o.removals === 'tell') continue;
    const to = await placeOf(folder, parts, { make: change.change !== 'removed' });
    if (change.change === 'removed') {
      if (to !== null) await rm(to, { recursive: true, force: true });
      continue;
    }
    const old = oldAt(to!);
    const kept = change.type === 'file' && change.content === null;
    // What only its permissions are other of has its content here already, if this is a checkout.
    if (kept && (change.differs.includes('content') || change.differs.includes('type') || !old.stats?.isFile())) {
      applied.left.push({ path: change.path, why: whyOmitted(change) });
      continue;
    }
    await put(to!, { change, old });
    if (change.type === 'folder') folders.push({ to: to!, change, old });
    else await dress(to!, { change, old, exact: o.exact, applied });
    applied.written++;
  }
  // Last, and from the inside out: one that nobody may write to is filled first.
  for (const { to, change, old } of folders.reverse()) await dress(to, { change, old, exact: o.exact, applied });
  return applied;
}

/** The parts of a path in a tree; null for one that is none. */
function partsOf(path: string, etc: ApplyOptions['etc']): string[] | null {
  const parts = path.split('/').filter((part) => part !== '' && part !== '.');
  if (parts.length === 0 || parts.includes('..') || path.includes('\0')) return null;
  return parts[0] === 'etc' ? [...etc.split('/'), ...parts.slice(1)] : parts;
}

function reasonToLeave(change: DeviceChange): string | null {
  if (isOfOneMachine(change.path)) return 'each machine has its own';
  if (change.change === 'removed') return null;
  if (change.type === null || change.type === 'other') return 'no file, folder or symlink';
  return change.type === 'symlink' && change.target === null ? 'a link to nowhere' : null;
}

/**
 * Where something goes, once every folder that leads there is known to be one.
 *
 * @returns null where one of them is missing and not to be made
 */
async function placeOf(folder: string, parts: readonly string[], o: { make: boolean }): Promise<string | null> {
  let path = folder;
  for (const part of parts.slice(0, -1)) {
    path = join(path, part);
    const stats = await lstat(path).catch(() => null);
    if (stats === null && !o.make) return null;
    if (stats === null) await mkdir(path, { mode: 0o755 });
    else if (!stats.isDirectory()) {
      throw new CliError('conflict', `/${parts.join('/')} cannot be carried over: ${path} is no folder.`, {
        hint: 'Nothing is written through a link. Check out what the device runs into a new folder.',
      });
    }
  }
  return join(path, parts.at(-1)!);
}

/** What a change takes the place of. */
interface Old {
  stats: Stats | null;
  xattrs: readonly Xattr[];
}

function oldAt(path: string): Old {
  const stats = lstatSync(path, { throwIfNoEntry: false }) ?? null;
  return { stats, xattrs: stats === null ? [] : readXattrs(path) };
}

/** Puts the thing itself there. A file is a new one, so that what shares an inode with the old keeps what it has. */
async function put(to: string, { change, old }: { change: DeviceChange; old: Old }): Promise<void> {
  if (change.type === 'folder') {
    if (old.stats?.isDirectory()) return;
    await rm(to, { force: true });
    return mkdir(to, { mode: 0o755 });
  }
  if (change.type === 'file' && change.content === null) return;
  await rm(to, { recursive: true, force: true });
  if (change.type === 'symlink') await symlink(change.target!, to);
  else await writeFile(to, Buffer.from(change.content!, 'base64'), { mode: 0o600, flag: 'wx' });
}

/** Gives it its permissions and, where that is possible, owner and attributes; what the board does not know of stays. */
async function dress(
  to: string,
  o: { change: DeviceChange; old: Old; exact: boolean; applied: Applied },
): Promise<void> {
  const { change, old, applied } = o;
  const mode = change.mode ?? 0o644;
  const isLink = change.type === 'symlink';
  if (!o.exact) {
    if (!isLink) await chmod(to, mode & 0o777);
    const special = change.uid !== null && (change.change === 'added' ? change.uid !== 0 || change.gid !== 0 : false);
    const isOther = change.differs.includes('owner') || change.differs.includes('xattrs');
    if (special || isOther || (mode & SET_ID_BITS) !== 0) applied.plain = true;
    return;
  }
  const before = old.stats ?? { uid: 0, gid: 0, mode: 0 };
  await lchown(to, change.uid ?? before.uid, change.gid ?? before.gid);
  const bits = change.uid === null ? before.mode & SET_ID_BITS : mode & SET_ID_BITS;
  if (!isLink) await chmod(to, (mode & 0o777) | bits);
  const told = change.uid === null ? null : change.xattrs;
  const wanted = told?.map(({ name, value }): Xattr => [Buffer.from(name), Buffer.from(value, 'base64')]) ?? old.xattrs;
  writeXattrs(to, wanted);
  const names = new Set(wanted.map(([name]) => Buffer.from(name).toString()));
  // A folder, and a file that kept its content, is the old one still.
  if (readXattrs(to).some(([name]) => !names.has(Buffer.from(name).toString()))) applied.plain = true;
}
