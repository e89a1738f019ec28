import { OstreeError } from '../errors.ts';
import type { Checksum } from '../formats/object-name.ts';
import type { Transaction } from '../repo/transaction.ts';
import { type HttpSource, type Reply, TransientError } from './http.ts';
import { openPartial, openTemporary, type Partial, restartPartial } from './partial.ts';

/** A received part of a delta: a file, which stays for a later pull unless it is forgotten (see partial.ts). */
export type ReceivedPart = Partial;

export interface PartToReceive {
  /** Below the repository. */
  path: string;
  checksum: Checksum;
  /** Bytes that it must have. */
  size: number;
}

/**
 * Receives a part of a delta into a file, going on with what an earlier pull has left of it. Its checksum is for
 * whoever applies it to look at.
 *
 * @param count told of bytes as they arrive
 * @throws OstreeError `not-found`, `corrupt` for another size than the superblock says, `network`
 */
export async function receivePart(
  tx: Transaction,
  source: HttpSource,
  part: PartToReceive,
  count: (bytes: number) => void,
): Promise<ReceivedPart> {
  const file = (await openPartial(tx.repo, part.checksum)) ?? (await openTemporary(tx.temporaryPath()));
  try {
    if (file.size > part.size) await restartPartial(file);
    if (file.size < part.size || part.size === 0) {
      const received = await source.get(
        part.path,
        (reply) => receive(reply, file, part, count),
        () => (file.size > 0 ? { range: `bytes=${file.size}-` } : undefined),
      );
      if (received === null) {
        throw new OstreeError('not-found', `${source.base}: has no ${part.path}`, {
          hint: 'The delta was removed, or is just being replaced: pull again.',
        });
      }
    }
    return file;
  } catch (error) {
    await file.handle.close();
    throw error;
  }
}

/** Ranges are of what has the same name, which holds its checksum: no validator is needed to go on. */
async function receive(reply: Reply, file: Partial, part: PartToReceive, count: (n: number) => void): Promise<true> {
  if (reply.status === 206) {
    const start = /^bytes (\d+)-/.exec(reply.headers['content-range'] ?? '')?.[1];
    if (Number(start) !== file.size) {
      await restartPartial(file);
      throw new TransientError(`${reply.what}: the server sends another part than asked for`);
    }
  } else if (reply.status === 416) {
    await restartPartial(file);
    throw new TransientError(`${reply.what}: the server cannot send the rest`);
  } else if (file.size > 0) await restartPartial(file);
  const wrong = (size: number) =>
    new OstreeError('corrupt', `${reply.what}: ${size} bytes, where the superblock says ${part.size}`);
  for await (const chunk of reply.body) {
    if (file.size + chunk.length > part.size) {
      await restartPartial(file);
      throw wrong(file.size + chunk.length);
    }
    reply.pause(true);
    for (let at = 0; at < chunk.length; ) {
      const { bytesWritten } = await file.handle.write(chunk, at);
      at += bytesWritten;
      file.size += bytesWritten;
    }
    reply.pause(false);
    count(chunk.length);
  }
  if (file.size !== part.size) throw wrong(file.size);
  return true;
}
