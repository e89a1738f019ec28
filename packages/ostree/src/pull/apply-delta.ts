import { join } from 'node:path';
import { applyDelta } from '../delta/apply.ts';
import { deltaFolder } from '../delta/names.ts';
import { OstreeError } from '../errors.ts';
import { assertFreeSpace } from '../repo/free-space.ts';
import type { Transaction } from '../repo/transaction.ts';
import type { FoundDelta } from './find-delta.ts';
import { forgetPartial } from './partial.ts';
import type { ProgressMeter } from './progress.ts';
import { type ReceivedPart, receivePart } from './receive-part.ts';
import type { Remote } from './remote.ts';

/**
 * Receives what a delta needs and makes its objects in a transaction. Objects beside it must be there.
 *
 * @returns the number of parts
 * @throws OstreeError `corrupt`, `unsupported`, `not-found`, `no-space`, `network`
 */
export async function receiveDelta(
  tx: Transaction,
  remote: Remote,
  { superblock, unpacked, download }: FoundDelta,
  meter: ProgressMeter,
): Promise<number> {
  const { from, to, parts } = superblock;
  assertFreeSpace(tx.repo, unpacked + download);
  const folder = deltaFolder(from, to);
  const received: ReceivedPart[] = [];
  const part = async (index: number): Promise<string> => {
    const path = `${folder}/${index}`;
    if (!remote.source) return join(remote.repo!.path, path);
    const file = await receivePart(tx, remote.source, { path, ...parts[index]! }, (bytes) => {
      meter.bytes += bytes;
      meter.tell();
    });
    received.push(file);
    return file.path;
  };
  meter.objectsKnown += parts.length;
  let done = 0;
  try {
    await applyDelta(tx, superblock, part, {
      ...(tx.signal ? { signal: tx.signal } : {}),
      onProgress: (progress) => {
        meter.objects += progress.parts - done;
        done = progress.parts;
        meter.tell();
      },
    });
    for (const file of received) forgetPartial(file);
  } catch (error) {
    // What is not as it should be must not be gone on with. Where the connection broke, what came is kept.
    if (error instanceof OstreeError && error.code === 'corrupt') for (const file of received) forgetPartial(file);
    throw error;
  } finally {
    for (const file of received) await file.handle.close();
  }
  return parts.length;
}

/** Whether a delta that failed with this can be done without: every object is checked by itself either way. */
export function isDispensable(error: unknown): boolean {
  return error instanceof OstreeError && ['corrupt', 'not-found', 'unsupported'].includes(error.code);
}
