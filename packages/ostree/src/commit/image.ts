import type { Readable } from 'node:stream';
import { OstreeError } from '../errors.ts';
import type { Tree } from '../formats/object-name.ts';
import type { Transaction } from '../repo/transaction.ts';
import { ArchiveTree } from './archive-tree.ts';
import { findLayers } from './image-manifest.ts';
import { openImageSource, splitTag } from './image-source.ts';
import type { ModifierOptions } from './modifier.ts';
import { openArchive } from './tar.ts';

export interface WriteImageOptions extends ModifierOptions {
  /** Which image of an index with several to take: `linux/arm64` or `linux/arm/v7`. */
  platform?: string;
  /** Pass over devices and pipes instead of refusing them. */
  skipDevices?: boolean;
  /** Told after each entry how many files and bytes were read. */
  onProgress?: (progress: { files: number; bytes: number }) => void;
}

/**
 * Stores the root file system of a container image: an OCI image layout, or what `docker save` or `podman save` wrote,
 * as a folder or a tar archive of it (also compressed). Layers may be plain, gzip or zstd; whiteouts are applied, and
 * every blob is checked against its digest.
 *
 * @param image path of the folder or archive, with `:TAG` after it where it holds several images
 * @throws OstreeError as writeTar does; `not-found`, and `invalid` where there are several images or platforms to choose
 *   from, with their names; `corrupt` for a wrong digest
 */
export async function writeImage(tx: Transaction, image: string, options: WriteImageOptions = {}): Promise<Tree> {
  const { path, tag } = splitTag(image);
  const source = await openImageSource(tx, path);
  const layers = await findLayers(source, { tag, platform: options.platform });
  let tree: Tree | null = null;
  for (const open of layers) {
    const stream = open();
    try {
      const layer: ArchiveTree = new ArchiveTree(tx, { ...options, ...(tree ? { base: tree } : {}) }, true);
      const reader = await openArchive(stream);
      for (let entry = await reader.next(); entry; entry = await reader.next()) {
        await layer.add(entry, reader);
        tx.signal?.throwIfAborted();
      }
      await assertWhole(stream, path);
      tree = await layer.finish();
    } catch (error) {
      if (error instanceof OstreeError || tx.signal?.aborted) throw error;
      throw new OstreeError('invalid', `${path}: a layer cannot be read: ${(error as Error).message}`, {
        cause: error,
      });
    } finally {
      stream.destroy();
    }
  }
  return tree ?? tx.emptyTree();
}

/** A digest is checked at the end of what it is of; a decompressor may think itself done before. */
async function assertWhole(stream: Readable, path: string): Promise<void> {
  if (!stream.readableEnded && !stream.destroyed) for await (const rest of stream) void rest;
  if (!stream.readableEnded) throw new OstreeError('corrupt', `${path}: a layer with rubbish after its end`);
}
