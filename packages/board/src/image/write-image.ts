import { open, rename, rm, stat, writeFile } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { blockMap } from './block-map.ts';
import { compressImage, compressionOf, imageName } from './compress.ts';
import { makeRawImage, type RawImageOptions, type ImageStep as RawStep } from './make-image.ts';

export type ImageStep = RawStep | 'block-map' | 'compress';

export interface ImageOptions extends Omit<RawImageOptions, 'onStep'> {
  /** `done` and `total` in bytes, for the steps that go through the whole image. */
  onStep?: ((step: ImageStep, progress?: { done: number; total: number }) => void) | undefined;
}

export interface WrittenImage {
  /** The image, compressed as its name says. */
  path: string;
  /** The block map beside it, `NAME.bmap`. */
  bmap: string;
  commit: string;
  board: string;
  /** Of the disk. */
  imageBytes: number;
  /** Of the disk, as far as something has to be written to it. */
  mappedBytes: number;
  /** Of the file, compressed. */
  fileBytes: number;
}

/**
 * Makes a disk image and its block map.
 *
 * @param output `….img`, or with .xz, .zst or .zip for a compressed one; what is there is replaced when all is done
 */
export async function writeImage(output: string, o: ImageOptions): Promise<WrittenImage> {
  const path = resolve(output);
  const compression = compressionOf(path);
  const raw = join(dirname(path), `.${imageName(path)}.${process.pid}.raw`);
  const packed = `${raw}.packed`;
  // bmaptool looks for NAME.bmap beside NAME.xz, and beside NAME.
  const bmap = join(dirname(path), `${imageName(path)}.bmap`);
  try {
    const made = await makeRawImage(raw, { ...o, onStep: (step) => o.onStep?.(step) });
    const progress = (step: ImageStep) => (done: number) => o.onStep?.(step, { done, total: made.bytes });
    const file = await open(raw, 'r');
    let map: { xml: string; mappedBytes: number };
    try {
      o.onStep?.('block-map');
      map = await blockMap(file, made.bytes, made.needed, { signal: o.signal, onProgress: progress('block-map') });
    } finally {
      await file.close();
    }
    if (compression !== 'none') {
      o.onStep?.('compress');
      await compressImage(raw, packed, compression, {
        name: imageName(path),
        ...{ signal: o.signal, onProgress: progress('compress') },
      });
    }
    await writeFile(bmap, map.xml);
    await rename(compression === 'none' ? raw : packed, path);
    return {
      ...{ path, bmap, commit: made.commit, board: o.board.name },
      ...{ imageBytes: made.bytes, mappedBytes: map.mappedBytes, fileBytes: (await stat(path)).size },
    };
  } finally {
    await rm(raw, { force: true });
    await rm(packed, { force: true });
  }
}
