import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { systemCode } from '../errors.ts';
import type { Checksum } from '../formats/object-name.ts';
import { partialMark } from '../pull/known-trees.ts';
import type { Repo } from '../repo/repo.ts';

/** Whether a commit is marked as partial: because no more was wanted, or by fsck because something was lost. */
export function partialReason(repo: Repo, commit: Checksum): 'wanted' | 'fsck' | null {
  try {
    return readFileSync(partialMark(repo, commit), 'latin1').startsWith('f') ? 'fsck' : 'wanted';
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return null;
    throw error;
  }
}

/** Marks a commit as one that has lost something: a pull gets it again. One that is marked stays as it is. */
export function markLost(repo: Repo, commit: Checksum): void {
  try {
    writeFileSync(partialMark(repo, commit), 'f', { flag: 'wx' });
  } catch (error) {
    if (systemCode(error) !== 'EEXIST') throw error;
  }
}

export function removePartialMark(repo: Repo, commit: Checksum): void {
  rmSync(partialMark(repo, commit), { force: true });
}
