import { createHash } from 'node:crypto';
import type { FileHandle } from 'node:fs/promises';
import type { Range } from './partitions.ts';

/** bmaptool's block size, and what the kernel writes at once. */
const BLOCK = 4096;
/** Read at once. */
const CHUNK = 4 * 2 ** 20;

interface MappedRange {
  first: number;
  last: number;
  sha256: string;
}

/**
 * The block map of an image in bmaptool's XML, version 2.0: which blocks have to be written to a disk, with checksums.
 *
 * Blocks of zeros are left out only where nothing counts on them being zeros. bmaptool does not clear a disk: what the
 * disk held before stays in the blocks that are left out, and an old journal or table of inodes there would be believed.
 *
 * @param needed ranges that are written whatever they hold
 */
export async function blockMap(
  image: FileHandle,
  size: number,
  needed: readonly Range[],
  o: { signal?: AbortSignal | undefined; onProgress?: ((done: number) => void) | undefined } = {},
): Promise<{ xml: string; mappedBytes: number }> {
  const blocks = Math.ceil(size / BLOCK);
  const forced = new Uint8Array(blocks);
  for (const { start, length } of needed) {
    forced.fill(1, Math.floor(start / BLOCK), Math.ceil((start + length) / BLOCK));
  }
  const ranges: MappedRange[] = [];
  const zeros = Buffer.alloc(BLOCK);
  const buffer = Buffer.alloc(CHUNK);
  let open: { first: number; hash: ReturnType<typeof createHash> } | undefined;
  const close = (next: number) => {
    if (open !== undefined) ranges.push({ first: open.first, last: next - 1, sha256: open.hash.digest('hex') });
    open = undefined;
  };
  for (let at = 0; at < size; ) {
    o.signal?.throwIfAborted();
    const { bytesRead } = await image.read(buffer, 0, Math.min(CHUNK, size - at), at);
    if (bytesRead === 0) break;
    for (let inside = 0; inside < bytesRead; inside += BLOCK) {
      const index = (at + inside) / BLOCK;
      const block = buffer.subarray(inside, Math.min(inside + BLOCK, bytesRead));
      if (forced[index] === 1 || block.compare(zeros, 0, block.length) !== 0) {
        open ??= { first: index, hash: createHash('sha256') };
        open.hash.update(block);
      } else close(index);
    }
    at += bytesRead;
    o.onProgress?.(at);
  }
  close(blocks);
  const mapped = ranges.reduce((sum, { first, last }) => sum + last - first + 1, 0);
  return { xml: toXml(size, blocks, mapped, ranges), mappedBytes: mapped * BLOCK };
}

/** The checksum of the file itself is of the text with zeros in its own place. */
function toXml(size: number, blocks: number, mapped: number, ranges: readonly MappedRange[]): string {
  const lines = ranges.map(({ first, last, sha256 }) => {
    const range = first === last ? `${first}` : `${first}-${last}`;
    return `        <Range chksum="${sha256}"> ${range} </Range>`;
  });
  const text = (checksum: string) => `<?xml version="1.0" ?>
<bmap version="2.0">
    <ImageSize> ${size} </ImageSize>
    <BlockSize> ${BLOCK} </BlockSize>
    <BlocksCount> ${blocks} </BlocksCount>
    <MappedBlocksCount> ${mapped} </MappedBlocksCount>
    <ChecksumType> sha256 </ChecksumType>
    <BmapFileChecksum> ${checksum} </BmapFileChecksum>
    <BlockMap>
${lines.join('\n')}
    </BlockMap>
</bmap>
`;
  return text(
    createHash('sha256')
      .update(text('0'.repeat(64)))
      .digest('hex'),
  );
}
