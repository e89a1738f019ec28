import { createRequire } from 'node:module';
import { OstreeError } from '../errors.ts';

// xz and bzip2, of which Node has neither: by liblzma and libbz2, which Debian's package manager needs itself, through
// koffi. They work on a structure of pointers that stays in place between calls, so it is laid out here by hand.

type Koffi = typeof import('koffi');

const OUTPUT_BYTES = 256 * 1024;
/** What xz -9 needs to unpack is 65 MiB; a file that asks for more than this was made to. */
const XZ_MEMORY_BYTES = 192 * 1024 * 1024;

/** A decompressor that is fed and emptied piece by piece. */
interface Unpacker {
  /** Takes input (an empty piece: there is no more) and gives output until it wants more. */
  feed(input: Uint8Array): Generator<Buffer>;
  /** Whether the input may end here. */
  readonly whole: boolean;
  readonly end: () => void;
}

/** Unpacks xz streams, one after the other. @throws OstreeError `unsupported` without liblzma, `invalid` */
export function unpackXz(source: AsyncIterable<Uint8Array>): AsyncIterable<Uint8Array> {
  return unpack(source, xzUnpacker());
}

/** Unpacks bzip2 streams, one after the other. @throws OstreeError `unsupported` without libbz2, `invalid` */
export function unpackBzip2(source: AsyncIterable<Uint8Array>): AsyncIterable<Uint8Array> {
  return unpack(source, bzip2Unpacker());
}

async function* unpack(source: AsyncIterable<Uint8Array>, unpacker: Unpacker): AsyncGenerator<Uint8Array> {
  try {
    for await (const chunk of source) yield* unpacker.feed(chunk);
    yield* unpacker.feed(new Uint8Array(0));
    if (!unpacker.whole) throw new OstreeError('invalid', 'compressed data ends too early');
  } finally {
    unpacker.end();
  }
}

/** A C structure with a cursor for input at its start and one for output after it. */
class Stream {
  readonly struct: Buffer;
  readonly #output = Buffer.allocUnsafeSlow(OUTPUT_BYTES);
  readonly #addressOf: (buffer: Uint8Array) => bigint;
  readonly #narrow: boolean;
  /** The library holds its address. */
  #input: Uint8Array = new Uint8Array(0);

  /** @param narrow lengths are 32 bits wide instead of 64 */
  constructor(bytes: number, narrow: boolean, addressOf: (buffer: Uint8Array) => bigint) {
    this.struct = Buffer.allocUnsafeSlow(bytes).fill(0);
    this.#narrow = narrow;
    this.#addressOf = addressOf;
  }

  input(data: Uint8Array): void {
    // A copy: the address of what is allocated like this does not change.
    this.#input = Buffer.allocUnsafeSlow(Math.max(data.length, 1));
    this.#input.set(data);
    this.struct.writeBigUInt64LE(this.#addressOf(this.#input), 0);
    this.#setLength(8, data.length);
  }

  get inputLeft(): number {
    return this.#length(8);
  }

  resetOutput(): void {
    this.struct.writeBigUInt64LE(this.#addressOf(this.#output), 24);
    this.#setLength(32, OUTPUT_BYTES);
  }

  /** What has been written since it was reset. */
  takeOutput(): Buffer {
    return Buffer.from(this.#output.subarray(0, OUTPUT_BYTES - this.#length(32)));
  }

  #length(at: number): number {
    return this.#narrow ? this.struct.readUInt32LE(at) : Number(this.struct.readBigUInt64LE(at));
  }

  #setLength(at: number, length: number): void {
    if (this.#narrow) this.struct.writeUInt32LE(length, at);
    else this.struct.writeBigUInt64LE(BigInt(length), at);
  }
}

function load(
  name: string,
  what: string,
): { library: ReturnType<Koffi['load']>; addressOf: (data: Uint8Array) => bigint } {
  const koffi = createRequire(import.meta.url)('koffi') as Koffi;
  if (process.platform !== 'linux' || koffi.sizeof('void *') !== 8) {
    throw new OstreeError('unsupported', `${what} can be unpacked on 64-bit Linux only`);
  }
  try {
    const memmove = koffi.load('libc.so.6').func('uint64_t memmove(void *to, void *from, size_t count)');
    const addressOf = (data: Uint8Array) => BigInt(memmove(data, data, 0) as bigint | number);
    return { library: koffi.load(name), addressOf };
  } catch (cause) {
    throw new OstreeError('unsupported', `${name}, with which ${what} is unpacked, cannot be loaded`, {
      cause,
      hint: `Unpack it on the way in: ${what} -dc FILE | … --tree=tar=-`,
    });
  }
}

function xzUnpacker(): Unpacker {
  const { library, addressOf } = load('liblzma.so.5', 'xz');
  const open = library.func('int lzma_stream_decoder(void *stream, uint64_t memory, uint32_t flags)');
  const code = library.func('int lzma_code(void *stream, int action)');
  const end = library.func('void lzma_end(void *stream)');
  const stream = new Stream(136, false, addressOf);
  const CONCATENATED = 8;
  const [STREAM_END, MEMORY_LIMIT, BUFFER_ERROR] = [1, 6, 10];
  check(open(stream.struct, XZ_MEMORY_BYTES, CONCATENATED) as number);
  let whole = false;

  function check(result: number): void {
    if (result === 0 || result === STREAM_END || result === BUFFER_ERROR) return;
    if (result === MEMORY_LIMIT) {
      const mebibytes = XZ_MEMORY_BYTES / 2 ** 20;
      throw new OstreeError('unsupported', `xz: needs more than ${mebibytes} MiB of memory to unpack`);
    }
    throw new OstreeError('invalid', `xz: damaged data (liblzma says ${result})`);
  }

  return {
    get whole() {
      return whole;
    },
    *feed(input) {
      const action = input.length === 0 ? 3 : 0; // finish, or go on
      stream.input(input);
      for (;;) {
        stream.resetOutput();
        const result = code(stream.struct, action) as number;
        check(result);
        const output = stream.takeOutput();
        if (output.length > 0) yield output;
        whole = result === STREAM_END;
        if (whole || (output.length === 0 && stream.inputLeft === 0)) return;
        if (result === BUFFER_ERROR) return;
      }
    },
    end: () => void end(stream.struct),
  };
}

function bzip2Unpacker(): Unpacker {
  const { library, addressOf } = load('libbz2.so.1.0', 'bzip2');
  const open = library.func('int BZ2_bzDecompressInit(void *stream, int verbosity, int small)');
  const code = library.func('int BZ2_bzDecompress(void *stream)');
  const end = library.func('int BZ2_bzDecompressEnd(void *stream)');
  const stream = new Stream(80, true, addressOf);
  const STREAM_END = 4;
  let isOpen = false;

  return {
    get whole() {
      return !isOpen;
    },
    *feed(input) {
      stream.input(input);
      while (stream.inputLeft > 0) {
        if (!isOpen) open(stream.struct, 0, 0);
        isOpen = true;
        for (;;) {
          stream.resetOutput();
          const result = code(stream.struct) as number;
          if (result < 0) throw new OstreeError('invalid', `bzip2: damaged data (libbz2 says ${result})`);
          const output = stream.takeOutput();
          if (output.length > 0) yield output;
          if (result === STREAM_END) {
            end(stream.struct);
            isOpen = false;
            break;
          }
          if (output.length < OUTPUT_BYTES && stream.inputLeft === 0) return;
        }
      }
    },
    end() {
      if (isOpen) end(stream.struct);
      isOpen = false;
    },
  };
}
