import { closeSync, mkdirSync, openSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { OstreeError, systemCode } from '../errors.ts';
import { tryFileLock } from '../fs/syscalls.ts';
import type { Repo } from './repo.ts';

/** How long libostree waits, too, unless `core.lock-timeout-secs` says otherwise. */
const TIMEOUT_SECONDS = 300;

/**
 * Holds the repository's lock, as libostree does: shared while objects are written, exclusive while they are
 * deleted, so that a prune by either never meets a commit by the other. Where the file system is read-only
 * nothing can be deleted either, and no lock is taken.
 *
 * @returns a function that lets go
 * @throws OstreeError `io` after the time-out
 */
export async function lockRepo(repo: Repo, kind: 'shared' | 'exclusive', signal?: AbortSignal): Promise<() => void> {
  const core = repo.config.get('core');
  if (core?.get('locking') === 'false') return () => {};
  let fd: number;
  try {
    fd = openSync(join(repo.path, '.lock'), 'a+', 0o660);
  } catch (error) {
    if (systemCode(error) === 'EROFS') return () => {};
    throw error;
  }
  const seconds = Number(core?.get('lock-timeout-secs') ?? TIMEOUT_SECONDS);
  const deadline = seconds < 0 ? Number.POSITIVE_INFINITY : Date.now() + seconds * 1000;
  try {
    for (let wait = 5; !tryFileLock(fd, kind); wait = Math.min(wait * 2, 250)) {
      if (Date.now() > deadline) {
        throw new OstreeError('io', `${repo.path}: another process held the lock for ${seconds} seconds`, {
          hint: 'A prune or a commit is under way; try again when it is done.',
        });
      }
      await sleep(wait, undefined, { signal });
    }
  } catch (error) {
    closeSync(fd);
    throw error;
  }
  return () => closeSync(fd); // an open-file-description lock goes with its file
}

/** Whoever replaces the summary takes this turn. */
export const SUMMARY_LOCK = 'treeline-summary.lock';

/**
 * Waits until nobody else holds this file of the repository locked: for what programs of this library must do one
 * after the other. It keeps libostree from nothing.
 *
 * @param name of the file in the repository's `tmp`
 * @returns a function that lets go
 */
export async function takeTurn(repo: Repo, name: string, signal?: AbortSignal): Promise<() => void> {
  const folder = join(repo.path, 'tmp');
  mkdirSync(folder, { recursive: true });
  return takeFileTurn(join(folder, name), signal);
}

/** takeTurn with a file anywhere; it is made if it is missing. */
export async function takeFileTurn(path: string, signal?: AbortSignal): Promise<() => void> {
  const fd = openSync(path, 'a+', 0o660);
  try {
    for (let wait = 2; !tryFileLock(fd, 'exclusive'); wait = Math.min(wait * 2, 100)) {
      await sleep(wait, undefined, { signal });
    }
  } catch (error) {
    closeSync(fd);
    throw error;
  }
  return () => closeSync(fd);
}
