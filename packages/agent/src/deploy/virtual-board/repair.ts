import { mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { OstreeError, writeFileDurably } from '@treeline/ostree';
import { partialMark, repositoryObjects } from './repository-objects.ts';

/** Whether an error says that an object of the repository is missing or damaged. */
export function isDamage(error: unknown): error is OstreeError {
  return error instanceof OstreeError && (error.code === 'not-found' || error.code === 'corrupt');
}

/**
 * Makes the next pull look at every object again: the damaged one that the error names goes, and no commit counts as
 * whole any more. Not only the one that is wanted: a pull passes over what it shares with a whole one. That costs later
 * pulls a look at more folders, until the marked commits are pruned or pulled again.
 */
export async function prepareRepair(repo: string, damage: OstreeError): Promise<void> {
  await mkdir(join(repo, 'state'), { recursive: true });
  for (const { checksum, type } of await repositoryObjects(repo)) {
    if (type === 'commit') await writeFileDurably(partialMark(repo, checksum), '');
  }
  const match = /^([0-9a-f]{2})([0-9a-f]{62})\.([a-z]+)$/.exec(damage.object ?? '');
  if (match === null) return;
  const [, prefix = '', rest = '', type = ''] = match;
  await rm(join(repo, 'objects', prefix, `${rest}.${type === 'file' ? 'filez' : type}`), { force: true });
}
