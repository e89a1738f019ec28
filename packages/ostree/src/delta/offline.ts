import { stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { OstreeError, systemCode } from '../errors.ts';
import type { Checksum } from '../formats/object-name.ts';
import { assertFreeSpace } from '../repo/free-space.ts';
import { hasObject } from '../repo/objects.ts';
import type { Repo } from '../repo/repo.ts';
import { withTransaction } from '../repo/transaction.ts';
import { applyDelta } from './apply.ts';
import { readSuperblockFile } from './stored.ts';
import { decodeSuperblock, type Superblock } from './superblock.ts';

/** How a delta in a file is applied. */
export interface ApplyOfflineOptions {
  /** Called with the superblock before anything else; throw to refuse it, for example because of its signatures. */
  verify?: (superblock: Superblock) => void | Promise<void>;
  signal?: AbortSignal;
}

/**
 * Applies a delta that was carried here: a folder with `superblock` and parts, or a superblock that holds its parts or
 * has them beside it.
 *
 * @returns the commit that is in the repository now; no ref is set
 * @throws OstreeError `not-found`, `corrupt`, `no-space`, `unsupported` when it leaves objects to be fetched over the
 *   network
 */
export async function applyOfflineDelta(
  repo: Repo,
  path: string,
  options: ApplyOfflineOptions = {},
): Promise<{ commit: Checksum }> {
  const isFolder = await stat(path).then(
    (found) => found.isDirectory(),
    (cause: unknown) => {
      if (systemCode(cause) !== 'ENOENT') throw cause;
      throw new OstreeError('not-found', `${path}: No such file or directory`, { cause });
    },
  );
  const file = isFolder ? join(path, 'superblock') : path;
  const superblock = decodeSuperblock(await readSuperblockFile(file), { object: file });
  await options.verify?.(superblock);
  if (superblock.fallbacks.length > 0) {
    throw new OstreeError('unsupported', 'Cannot execute delta offline: contains nonempty http fallback entries', {
      hint: 'Generate it with --min-fallback-size=0 (libostree: the same) so that it holds everything.',
    });
  }
  // An archive takes less than this, nobody knows how much.
  if (repo.mode !== 'archive') assertFreeSpace(repo, bytesToMake(repo, superblock));
  const part = async (index: number) => join(dirname(file), String(index));
  const { signal } = options;
  return withTransaction(
    repo,
    (tx) => applyDelta(tx, superblock, part, signal ? { signal } : {}),
    signal ? { signal } : {},
  );
}

/** Content of the parts that would be worked on. */
function bytesToMake(repo: Repo, { parts }: Superblock): number {
  let bytes = 0;
  for (const { objects, unpackedSize } of parts) {
    if (!objects.every(({ type, checksum }) => hasObject(repo, type, checksum))) bytes += unpackedSize;
  }
  return bytes;
}
