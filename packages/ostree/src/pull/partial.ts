import { fstatSync, lstatSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { type FileHandle, mkdir, open, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { Checksum } from '../formats/object-name.ts';
import { tryHold } from '../fs/syscalls.ts';
import { hasObject } from '../repo/objects.ts';
import type { Repo } from '../repo/repo.ts';

/**
 * Large objects are received into `tmp/treeline-partial/<checksum>.filez`, which outlives an interrupted pull:
 * the next one asks only for the rest. Nothing in there is trusted; it is hashed as a whole before it is stored.
 */
export interface Partial {
  readonly handle: FileHandle;
  readonly path: string;
  /** Bytes received so far. */
  size: number;
  /** What to send as If-Range, so that two different compressions of one content are never mixed. */
  validator: string | undefined;
}

/** What may lie around for a later pull. */
const MAX_BYTES = 8 * 1024 ** 3;
const MAX_AGE_MS = 7 * 24 * 3600 * 1000;
const NAME = /^([0-9a-f]{64})\.filez$/;

function folderOf(repo: Repo): string {
  return join(repo.path, 'tmp/treeline-partial');
}

/** Opens (or makes) the partial file of an object; null while another pull of this machine works on it. */
export async function openPartial(repo: Repo, checksum: Checksum): Promise<Partial | null> {
  await mkdir(folderOf(repo), { recursive: true });
  const path = join(folderOf(repo), `${checksum}.filez`);
  const handle = await open(path, 'a+', 0o644);
  // Its last owner may have moved the file into the store between our open and our lock.
  if (!tryHold(handle.fd) || lstatSync(path, { throwIfNoEntry: false })?.ino !== fstatSync(handle.fd).ino) {
    await handle.close();
    return null;
  }
  return { handle, path, size: fstatSync(handle.fd).size, validator: readValidator(path) };
}

/** The same without a later: for an object whose partial file is somebody else's. */
export async function openTemporary(path: string): Promise<Partial> {
  return { handle: await open(path, 'ax+', 0o644), path, size: 0, validator: undefined };
}

export async function restartPartial(partial: Partial): Promise<void> {
  await partial.handle.truncate(0);
  partial.size = 0;
}

export function rememberValidator(partial: Partial, validator: string | undefined): void {
  partial.validator = validator;
  if (validator === undefined) rmSync(`${partial.path}.validator`, { force: true });
  else writeFileSync(`${partial.path}.validator`, validator);
}

/** After the file has become an object, or was found to be rubbish. */
export function forgetPartial(partial: Partial): void {
  rmSync(partial.path, { force: true });
  rmSync(`${partial.path}.validator`, { force: true });
}

function readValidator(path: string): string | undefined {
  try {
    const text = readFileSync(`${path}.validator`, 'latin1');
    return /^[\x20-\x7e]{1,256}$/.test(text) ? text : undefined;
  } catch {
    return undefined;
  }
}

/**
 * Removes partial files that are old, not needed any more, or too much together, oldest first.
 *
 * @returns the objects that have one
 */
export async function tidyPartials(repo: Repo, maxBytes = MAX_BYTES): Promise<Set<Checksum>> {
  const folder = folderOf(repo);
  const names = await readdir(folder).catch(() => []);
  const found: { checksum: Checksum; path: string; size: number; mtimeMs: number }[] = [];
  for (const name of names) {
    const checksum = NAME.exec(name)?.[1];
    const stats = checksum && statSync(join(folder, name), { throwIfNoEntry: false });
    if (stats) found.push({ checksum, path: join(folder, name), size: stats.size, mtimeMs: stats.mtimeMs });
  }
  found.sort((a, b) => b.mtimeMs - a.mtimeMs);
  const kept = new Set<Checksum>();
  let total = 0;
  for (const { checksum, path, size, mtimeMs } of found) {
    total += size;
    const useless = Date.now() - mtimeMs > MAX_AGE_MS || hasObject(repo, 'file', checksum);
    if (!useless && total <= maxBytes) kept.add(checksum);
    else if (await isNobodys(path)) {
      rmSync(path, { force: true });
      rmSync(`${path}.validator`, { force: true });
      total -= size;
    }
  }
  return kept;
}

async function isNobodys(path: string): Promise<boolean> {
  const handle = await open(path, 'r').catch(() => null);
  if (!handle) return false;
  const free = tryHold(handle.fd);
  await handle.close();
  return free;
}
