import { createRequire } from 'node:module';
import { deflateRawSync, inflateRawSync } from 'node:zlib';
import { OstreeError, systemCode } from '../errors.ts';

/**
 * Raw deflate of content that is in memory. Where the system has libdeflate (Debian's `libdeflate0`) that is
 * called through koffi: it takes half of the time of Node's zlib for fewer bytes. Which of the two wrote a body
 * makes no difference to anybody: compressed bytes are not what OSTree hashes.
 */
interface Libdeflate {
  deflate(level: number, input: Uint8Array, output: Uint8Array): number;
  /** 0, 1 for bad data, 2 or 3 for another length than that of `output`. `used` gets the bytes of input read. */
  inflate(input: Uint8Array, output: Uint8Array, used: BigUint64Array): number;
}

let loaded: Libdeflate | null | undefined;

function libdeflate(): Libdeflate | null {
  if (loaded !== undefined) return loaded;
  loaded = null;
  if (process.platform !== 'linux' || process.env.TREELINE_LIBDEFLATE === '0') return loaded;
  const koffi = createRequire(import.meta.url)('koffi') as typeof import('koffi');
  let library: ReturnType<typeof koffi.load>;
  try {
    library = koffi.load('libdeflate.so.0');
  } catch {
    return loaded;
  }
  const makeCompressor = library.func('void *libdeflate_alloc_compressor(int level)');
  const compress = library.func(
    'uint64_t libdeflate_deflate_compress(void *c, void *in, uint64_t in_bytes, void *out, uint64_t out_bytes)',
  );
  const makeDecompressor = library.func('void *libdeflate_alloc_decompressor()');
  const decompress = library.func(
    'int libdeflate_deflate_decompress_ex(void *d, void *in, uint64_t in_bytes, void *out, uint64_t out_bytes, void *in_used, void *out_used)',
  );
  const compressors = new Map<number, unknown>();
  let decompressor: unknown;
  loaded = {
    deflate(level, input, output) {
      const compressor = compressors.get(level) ?? makeCompressor(level);
      compressors.set(level, compressor);
      return Number(compress(compressor, input, input.length, output, output.length));
    },
    inflate(input, output, used) {
      decompressor ??= makeDecompressor();
      return decompress(decompressor, input, input.length, output, output.length, used, null) as number;
    },
  };
  return loaded;
}

let scratch = Buffer.alloc(0);

/** Each thread makes its output in one buffer; with a new one for each file, garbage would pile up. */
function room(bytes: number): Buffer {
  if (scratch.length < bytes) scratch = Buffer.allocUnsafeSlow(Math.ceil((bytes * 1.25) / 65536) * 65536);
  return scratch.subarray(0, bytes);
}

/** libdeflate does not try to compress so little; zlib makes most of it smaller. */
const SMALL_BYTES = 64;

/**
 * Compresses content.
 *
 * @param level zlib's, 1 to 9. libdeflate's next lower level is both faster and smaller.
 * @returns a view that is good until the next call in this thread
 */
export function deflateRaw(content: Uint8Array, level: number): Buffer {
  const fast = content.length < SMALL_BYTES ? null : libdeflate();
  if (fast) {
    const output = room(outputBytes(content.length));
    const length = fast.deflate(Math.max(1, level - 1), content, output);
    if (length > 0) return output.subarray(0, length);
  }
  return deflateRawSync(content, { level, chunkSize: Math.min(65536, outputBytes(content.length)) });
}

/** More than deflate ever makes of so many bytes (zlib's deflateBound, stored blocks of libdeflate). */
export function outputBytes(input: number): number {
  return Math.max(64, input + (input >> 12) + (input >> 14) + 5 * Math.ceil(input / 5000) + 32);
}

/** Deflate's most frugal code is two bits for 258 bytes. */
const MAX_RATIO = 1032;

/**
 * Inflates a body that is known to have `size` bytes of content, and puts `head` before it.
 *
 * @returns a view that is good until the next call in this thread; null when the length is another one, or when
 *   something follows
 * @throws an error that says why the data is not deflate's
 */
export function inflateRaw(body: Uint8Array, size: number, head: Uint8Array = NOTHING): Buffer | null {
  // A header can say anything: nobody is to be made to reserve gigabytes for a body that cannot hold them.
  if (size > MAX_RATIO * body.length) return null;
  const fast = libdeflate();
  if (!fast) {
    const content = inflateWithZlib(body, size);
    return content && (head.length === 0 ? content : Buffer.concat([head, content]));
  }
  const output = room(head.length + Math.max(size, 1));
  output.set(head);
  const result = fast.inflate(body, output.subarray(head.length, head.length + size), used);
  if (result === 1) throw new OstreeError('corrupt', 'bad deflate data');
  return result === 0 && used[0] === BigInt(body.length) ? output.subarray(0, head.length + size) : null;
}

const NOTHING = new Uint8Array(0);
/** Where libdeflate says how much it has read. */
const used = new BigUint64Array(1);

function inflateWithZlib(body: Uint8Array, size: number): Buffer | null {
  let result: { buffer: Buffer; engine: { bytesWritten: number } };
  try {
    result = inflateRawSync(body, { maxOutputLength: Math.max(size, 1), info: true }) as unknown as typeof result;
  } catch (error) {
    if (systemCode(error) === 'ERR_BUFFER_TOO_LARGE') return null;
    throw error;
  }
  return result.buffer.length === size && result.engine.bytesWritten === body.length ? result.buffer : null;
}
