import { createReadStream } from 'node:fs';
import type { Readable } from 'node:stream';
import { OstreeError } from '../errors.ts';
import type { Tree } from '../formats/object-name.ts';
import type { Transaction } from '../repo/transaction.ts';
import { ArchiveTree } from './archive-tree.ts';
import { CpioReader, isCpio } from './cpio-entries.ts';
import { decompressed } from './decompress.ts';
import type { ModifierOptions } from './modifier.ts';
import { type ArchiveReader, type TarEntry, TarReader } from './tar-entries.ts';

export interface WriteTarOptions extends ModifierOptions {
  /** Return false to leave an entry (path with a leading slash) out. Leaving a folder out leaves out all below it. */
  filter?: (path: string, entry: TarEntry) => boolean;
  /** Gives paths, and targets of hard links, another name: without a leading slash, as they come and as they go. */
  rename?: (path: string) => string;
  /** The tree that the archive is laid over; its links may lead into it. Default none. */
  base?: Tree;
  /** Pass over devices and pipes instead of refusing them. */
  skipDevices?: boolean;
  /**
   * Make folders that the archive does not mention: as root:root 0755 (true, the default), or as 0755 of the owner of
   * what lies in them (`owned`), as `ostree commit --tar-autocreate-parents` does, with all folders above them.
   */
  createParents?: boolean | 'owned';
  /** Take an archive without entries for an empty folder instead of refusing it. Default false. */
  allowEmpty?: boolean;
  /** Told after each entry how many files and bytes were read. */
  onProgress?: (progress: { files: number; bytes: number }) => void;
}

/**
 * Stores a tar or cpio archive: plain, gzip, zstd, xz or bzip2, told by its first bytes. Owners, modes with setuid bits,
 * symlinks, hard links (as files of the same content), sparse files and extended attributes are kept. A later entry
 * replaces an earlier one of the same path, and a hard link may come before its target. The stream is read to its end.
 *
 * @param source a stream, or the path of a file
 * @throws OstreeError `invalid` for what is no archive (with its offset), has no entries or leaves the tree (`..`),
 *   and for hard links to nothing; `unsupported` for devices; `no-space` before a file for which there is no room
 */
export async function writeTar(
  tx: Transaction,
  source: Readable | string,
  options: WriteTarOptions = {},
): Promise<Tree> {
  const stream = typeof source === 'string' ? createReadStream(source, { highWaterMark: 256 * 1024 }) : source;
  try {
    const reader = await openArchive(stream);
    const tree = new ArchiveTree(tx, options);
    let entry = await reader.next();
    // An export that failed leaves one behind; as a commit it would delete everything.
    if (!entry && !options.allowEmpty)
      throw new OstreeError('invalid', 'tar: an empty archive: there is no entry in it', { offset: 0 });
    for (; entry; entry = await reader.next()) {
      await tree.add(entry, reader);
      tx.signal?.throwIfAborted();
    }
    return await tree.finish();
  } catch (error) {
    throw error instanceof OstreeError || tx.signal?.aborted ? error : unreadable(error);
  } finally {
    stream.destroy();
  }
}

/** A reader for a stream, whatever it is compressed with. */
export async function openArchive(source: AsyncIterable<Uint8Array>): Promise<ArchiveReader> {
  const { start, stream } = await decompressed(source);
  return isCpio(start) ? new CpioReader(stream) : new TarReader(stream);
}

function unreadable(cause: unknown): OstreeError {
  return new OstreeError('invalid', `tar: cannot be read: ${cause instanceof Error ? cause.message : String(cause)}`, {
    cause,
  });
}
