import { pipeline, Readable } from 'node:stream';
import { createGunzip, createZstdDecompress } from 'node:zlib';
import { OstreeError } from '../errors.ts';
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
      ? unpackZstd(packed.stream)
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

/**
 * Node's decompressor ends with the first frame when more comes in the same piece of input; what it left is for another.
 * (Layers of container images are made of many frames.)
 */
async function* unpackZstd(source: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  const input = source[Symbol.asyncIterator]();
  let rest: Uint8Array = new Uint8Array(0);
  for (let isMore = true; isMore; ) {
    const unpack = createZstdDecompress({ chunkSize: CHUNK_BYTES });
    const feed = async (): Promise<boolean> => {
      for (;;) {
        if (rest.length === 0) {
          const { done, value } = await input.next();
          if (done) {
            unpack.end();
            return false;
          }
          rest = value;
        }
        const before = unpack.bytesWritten;
        await new Promise<void>((resolve, reject) => {
          unpack.write(rest, (error) => (error ? reject(error) : resolve()));
        });
        const taken = unpack.bytesWritten - before;
        rest = rest.subarray(taken);
        if (rest.length > 0 && taken === 0) throw new OstreeError('invalid', 'zstd: damaged data');
        if (rest.length > 0) return true;
      }
    };
    const feeding = feed();
    feeding.catch((error: unknown) => unpack.destroy(error as Error));
    try {
      yield* unpack as AsyncIterable<Uint8Array>;
      isMore = await feeding;
    } finally {
      unpack.destroy();
    }
  }
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
