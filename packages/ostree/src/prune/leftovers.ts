import { existsSync } from 'node:fs';
import { readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { deltaOfFolder } from '../delta/names.ts';
import { lockRepo } from '../repo/lock.ts';
import type { Repo } from '../repo/repo.ts';
import { isOlder, removeAbandoned } from '../repo/staging.ts';
import { endSwitch } from '../summary/switch-pair.ts';

/** What is taken for left behind. */
export interface RemoveLeftoversOptions {
  /**
   * Nobody but this process writes into the repository, and it does not just now: what is not finished goes at once.
   * Default: what nobody holds a lock on has to be an hour old.
   */
  alone?: boolean;
  signal?: AbortSignal;
}

const HOUR_MS = 3_600_000;
/** What `tmp` may hold besides staging: parts of a delta, a summary that waits, an object of a checkout. */
const TEMPORARY = /^(delta-[A-Za-z0-9]{6}|summary-[0-9a-f]{12}(\.sig)?|treeline-checkout-[0-9a-f]{16})$/;
const CACHE_TEMPORARY = /^treeline-[a-z]+\.(json|sha256)\.\d+$/;
/** `writeFileDurably`, and a ref that is an alias. */
const DURABLE_TEMPORARY = /^\.(.+\.|alias-)[0-9a-f]{12}$/;

/**
 * Removes what processes that were killed have left in a repository: staged objects, parts of static deltas, files that
 * were to replace others. A transaction removes staged objects before it begins; this is for who wants a repository to
 * be tidy now, at the start of a server. Objects that are in place but belong to no commit are for prune.
 *
 * It takes the repository's lock exclusively, so that it waits for whoever writes.
 *
 * @returns what was removed, as paths below the repository
 */
export async function removeLeftovers(repo: Repo, options: RemoveLeftoversOptions = {}): Promise<string[]> {
  const { alone = false, signal } = options;
  const age = alone ? Number.NEGATIVE_INFINITY : HOUR_MS;
  const unlock = await lockRepo(repo, 'exclusive', signal);
  try {
    const removed = (await removeAbandoned(repo, age)).map((name) => `tmp/${name}`);
    removed.push(...(await endSwitch(repo.path, age)));
    for (const path of await leftovers(repo)) {
      if (!isOlder(join(repo.path, path), age)) continue;
      await rm(join(repo.path, path), { recursive: true, force: true });
      removed.push(path);
    }
    return removed;
  } finally {
    unlock();
  }
}

async function leftovers(repo: Repo): Promise<string[]> {
  const list = (folder: string) => readdir(join(repo.path, folder)).catch(() => []);
  const listAll = (folder: string) => readdir(join(repo.path, folder), { recursive: true }).catch(() => []);
  const found: string[] = [];
  const add = (folder: string, names: readonly string[], pattern: RegExp) => {
    for (const name of names) {
      if (pattern.test(name.slice(name.lastIndexOf('/') + 1))) found.push(folder === '' ? name : `${folder}/${name}`);
    }
  };
  add('tmp', await list('tmp'), TEMPORARY);
  add('tmp/cache', await list('tmp/cache'), CACHE_TEMPORARY);
  add('', await list(''), DURABLE_TEMPORARY);
  for (const folder of ['tmp', 'state']) add(folder, await list(folder), DURABLE_TEMPORARY);
  for (const folder of ['refs', 'delta-indexes']) add(folder, await listAll(folder), DURABLE_TEMPORARY);
  for (const prefix of await list('deltas')) {
    for (const name of await list(`deltas/${prefix}`)) {
      const folder = `deltas/${prefix}/${name}`;
      // The superblock comes last, and goes first.
      if (deltaOfFolder(prefix, name) && !existsSync(join(repo.path, folder, 'superblock'))) found.push(folder);
    }
  }
  return found;
}
