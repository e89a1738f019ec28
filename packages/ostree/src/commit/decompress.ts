import { pipeline, Readable } from 'node:stream';
import { createGunzip, createZstdDecompress } from 'node:zlib';
import { unpackBzip2, unpackXz } from '../fs/native-unpack.ts';

const CHUNK_BYTES = 256 * 1024;
/** As many bytes as are looked at to tell what a stream is. */
const START_BYTES = 512;

/** A stream with its beginning, which is still to come from the stream, too. */
export interface Opened {
  start: Buffer;
  stream: AsyncIterable<Uint8Array>;
  /** Whether it came as it is. */
  isPlain: boolean;
}

/**
 * Puts a decompressor before a stream if its first bytes ask for one: gzip, zstd, xz, bzip2; any number of frames or
 * members one after the other. Errors come out at the reading end.
 *
 * @throws OstreeError `unsupported` where the library for xz or bzip2 is missing
 */
export async function decompressed(stream: Readable | AsyncIterable<Uint8Array>): Promise<Opened> {
  const packed = await open(stream);
  const magic = packed.start.toString('latin1', 0, 6);
  const unpacked = magic.startsWith('\x1f\x8b')
    ? through(packed, createGunzip({ chunkSize: CHUNK_BYTES }))
    : magic.startsWith('\x28\xb5\x2f\xfd')
      ? through(packed, createZstdDecompress({ chunkSize: CHUNK_BYTES }))
      : magic === '\xfd7zXZ\0'
        ? unpackXz(packed.stream)
        : magic.startsWith('BZh')
          ? unpackBzip2(packed.stream)
          : null;
  return unpacked ? { ...(await open(unpacked)), isPlain: false } : packed;
}

function through(packed: Opened, unpack: ReturnType<typeof createGunzip>): AsyncIterable<Uint8Array> {
  const source = Readable.from(packed.stream, { objectMode: false, highWaterMark: CHUNK_BYTES });
  return pipeline(source, unpack, () => {}); // errors come out at the reading end
}

async function open(stream: AsyncIterable<Uint8Array>): Promise<Opened> {
  const chunks = stream[Symbol.asyncIterator]();
  let start = Buffer.alloc(0);
  while (start.length < START_BYTES) {
    const { done, value } = await chunks.next();
    if (done) break;
    start = Buffer.concat([start, value]);
  }
  return { start, stream: again(start, chunks), isPlain: true };
}

async function* again(start: Buffer, chunks: AsyncIterator<Uint8Array>): AsyncGenerator<Uint8Array> {
  if (start.length > 0) yield start;
  for (;;) {
    const { done, value } = await chunks.next();
    if (done) return;
    yield value;
  }
}
