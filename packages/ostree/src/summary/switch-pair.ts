import { randomBytes } from 'node:crypto';
import {
  copyFileSync,
  existsSync,
  linkSync,
  mkdirSync,
  readdirSync,
  readlinkSync,
  realpathSync,
  renameSync,
  rmSync,
  symlinkSync,
} from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { systemCode } from '../errors.ts';
import { writeFileSynced } from '../fs/durable.ts';
import { isOlder } from '../repo/staging.ts';

/** The files of a summary, in the order in which clients ask for them. */
const FILES = ['summary.sig', 'summary'] as const;
type PairFile = (typeof FILES)[number];

const FOLDER = /^\.summary-[0-9a-f]{12}$/;

/** What a summary or its signature leads to, as a symlink, while the two are being switched. */
export const SWITCHING_LINK = /^\.summary-[0-9a-f]{12}\/now\/summary(?:\.sig)?$/;

/** Longer than it takes to open a file by a symlink, of a process that is kept from its core meanwhile. */
export const LINGER_MS = 100;

/** Called before each step; for tests, which end the process there. */
export type SwitchStep = (name: string) => void;

/**
 * Replaces a summary and its signatures at one moment, although they are two files: for the time of some ten system
 * calls both are symlinks through a third, `.summary-X/now`, which leads to a folder with the old two first and to one
 * with the new two then. Killed at any step, the process leaves two files that fit, at worst as symlinks; whoever comes
 * next makes files of them again and tidies up. One at a time, please.
 *
 * @param root of the repository
 * @param next the new content; null for no signatures. It is on disk before any of it can be seen
 * @returns what tidies up. Whoever opened a symlink just before it became a file again follows it just after: give a web
 *   server's worker the time that it may be kept from its core
 */
export async function switchPair(
  root: string,
  next: Readonly<Record<PairFile, Uint8Array | null>>,
  step: SwitchStep = () => {},
): Promise<() => void> {
  const name = `.summary-${randomBytes(6).toString('hex')}`;
  const folder = join(root, name);
  for (const version of ['0', '1']) mkdirSync(join(folder, version), { recursive: true });
  // At the same time: the two then share what a journal needs for a flush.
  const writing = FILES.map(async (file) => {
    if (next[file]) await writeFileSynced(join(folder, '1', file), next[file]);
  });
  await Promise.allSettled(writing);
  try {
    await Promise.all(writing);
  } catch (error) {
    rmSync(folder, { recursive: true, force: true });
    throw error;
  }
  step('begin');
  for (const file of FILES) keep(join(root, file), join(folder, '0', file));
  symlinkSync('0', join(folder, 'now'));
  for (const file of FILES) {
    step(`link ${file}`);
    replaceBySymlink(`${name}/now/${file}`, join(folder, file), join(root, file));
  }
  step('switch');
  replaceBySymlink('1', join(folder, 'next'), join(folder, 'now'));
  for (const file of FILES) {
    step(`settle ${file}`);
    if (next[file] === null) rmSync(join(root, file), { force: true });
    else {
      keep(join(folder, '1', file), join(folder, `settled-${file}`));
      renameSync(join(folder, `settled-${file}`), join(root, file));
    }
  }
  return () => {
    step('tidy');
    for (const entry of readdirSync(root)) {
      if (FOLDER.test(entry)) rmSync(join(root, entry), { recursive: true, force: true });
    }
  };
}

/** Gives a file a second name, if it is there. */
function keep(file: string, second: string): void {
  try {
    const real = realpathSync(file); // what a switch that was cut off has left is a symlink
    try {
      linkSync(real, second);
    } catch (error) {
      if (systemCode(error) === 'ENOENT') throw error;
      copyFileSync(real, second); // a file system without hard links
    }
  } catch (error) {
    if (systemCode(error) !== 'ENOENT') throw error;
  }
}

function replaceBySymlink(target: string, temporary: string, path: string): void {
  symlinkSync(target, temporary);
  renameSync(temporary, path);
}

/**
 * Ends what a switch that was killed has left: makes files of the symlinks, and removes its folders when nobody can be
 * following them any more.
 *
 * @param settledMs switches that have not changed anything for so long
 * @returns the folders
 */
export async function endSwitch(root: string, settledMs: number): Promise<string[]> {
  const left = readdirSync(root).filter((entry) => FOLDER.test(entry) && isOlder(join(root, entry), settledMs));
  let lingers = false;
  for (const name of left) {
    for (const file of FILES) {
      const path = join(root, file);
      // Whichever of the two comes first, both lead to the same version until both are files.
      if (linkTarget(path) !== `${name}/now/${file}`) continue;
      const second = join(root, name, `${file}.left`);
      rmSync(second, { force: true });
      keep(path, second);
      if (existsSync(second)) renameSync(second, path);
      else rmSync(path, { force: true });
      lingers = true;
    }
  }
  if (lingers) await sleep(LINGER_MS);
  for (const name of left) rmSync(join(root, name), { recursive: true, force: true });
  return left;
}

function linkTarget(path: string): string | null {
  try {
    return readlinkSync(path);
  } catch {
    return null; // a file, or nothing
  }
}
