import { createRequire } from 'node:module';
import { OstreeError } from '../errors.ts';

/**
 * XZ by liblzma, which every Linux distribution has (dpkg, systemd and libostree itself need it), through koffi. The
 * calls are synchronous and take seconds for tens of megabytes: they belong into a worker thread.
 */
interface Lzma {
  encode(filters: unknown, check: number, allocator: null, ...buffers: unknown[]): number;
  decode(memory: bigint[], flags: number, allocator: null, ...buffers: unknown[]): number;
}

const FILTER_END = 0xffffffffffffffffn;
const FILTER_LZMA2 = 0x21n;
const FILTER_X86 = 0x04n;
const CHECK_CRC64 = 4;
const MODE_NORMAL = 2;
const MATCH_FINDER_BT4 = 0x14;

/** `lzma_ret`. */
const OK = 0;
const MEMORY_LIMIT = 6;
const BUFFER_ERROR = 10;

let loaded: Lzma | undefined;

function lzma(): Lzma {
  if (loaded) return loaded;
  const koffi = createRequire(import.meta.url)('koffi') as typeof import('koffi');
  let library: ReturnType<typeof koffi.load>;
  try {
    library = koffi.load('liblzma.so.5');
  } catch (cause) {
    throw new OstreeError('unsupported', 'liblzma.so.5 cannot be loaded', {
      cause,
      hint: 'Static deltas are compressed with xz. Install liblzma (Debian: liblzma5, Alpine: xz-libs).',
    });
  }
  const reserved = (count: number, type: string) =>
    Object.fromEntries(Array.from({ length: count }, (_, index) => [`${type}_${index}`, type]));
  const options = koffi.struct({
    dict_size: 'uint32_t',
    preset_dict: 'void *',
    preset_dict_size: 'uint32_t',
    lc: 'uint32_t',
    lp: 'uint32_t',
    pb: 'uint32_t',
    mode: 'int',
    nice_len: 'uint32_t',
    mf: 'int',
    depth: 'uint32_t',
    ...reserved(8, 'uint32_t'),
    ...reserved(4, 'int'),
    pointer_0: 'void *',
    pointer_1: 'void *',
  });
  const filter = koffi.struct({ id: 'uint64_t', options: koffi.pointer(options) });
  const size = koffi.inout(koffi.pointer('size_t'));
  loaded = {
    encode: library.func('lzma_stream_buffer_encode', 'int', [
      koffi.pointer(filter),
      'int',
      'void *',
      'void *',
      'size_t',
      'void *',
      size,
      'size_t',
    ]),
    decode: library.func('lzma_stream_buffer_decode', 'int', [
      koffi.inout(koffi.pointer('uint64_t')),
      'uint32_t',
      'void *',
      'void *',
      size,
      'size_t',
      'void *',
      size,
      'size_t',
    ]),
  };
  return loaded;
}

/** How to compress. Memory while compressing is about 11 times the dictionary, for unpacking once. */
export interface XzOptions {
  /** Literal context bits, literal position bits and position bits of LZMA2; default 3, 0, 2. */
  lc?: number;
  lp?: number;
  pb?: number;
  /** How long a match is good enough; 64 as in preset 8 by default, 273 as in 9e at most. */
  nice?: number;
  /** How many candidates to look at; 0, the default, leaves it to liblzma. */
  depth?: number;
  /** Rewrite jump targets of x86 code before it is compressed. */
  x86?: boolean;
  /** Bytes to look back, at most; default 32 MiB. It is never more than there is. */
  dictionary?: number;
}

const SMALLEST_DICTIONARY = 4096;

/** Compresses into one xz stream of one block with CRC64. */
export function xzCompress(data: Uint8Array, options: XzOptions = {}): Buffer {
  const dictionary = Math.max(SMALLEST_DICTIONARY, Math.min(data.length, options.dictionary ?? 32 * 1024 * 1024));
  const settings = {
    dict_size: dictionary,
    preset_dict: null,
    preset_dict_size: 0,
    lc: options.lc ?? 3,
    lp: options.lp ?? 0,
    pb: options.pb ?? 2,
    mode: MODE_NORMAL,
    nice_len: options.nice ?? 64,
    mf: MATCH_FINDER_BT4,
    depth: options.depth ?? 0,
  };
  const filters = [
    ...(options.x86 ? [{ id: FILTER_X86, options: null }] : []),
    { id: FILTER_LZMA2, options: { ...ZEROS, ...settings } },
    { id: FILTER_END, options: null },
  ];
  // lzma_stream_buffer_bound: what cannot be compressed is stored in chunks of 64 KiB with 3 bytes each.
  const out = Buffer.allocUnsafeSlow(data.length + Math.ceil(data.length / 65536) * 3 + 256);
  const written = [0];
  const code = lzma().encode(filters, CHECK_CRC64, null, data, data.length, out, written, out.length);
  if (code !== OK) throw new OstreeError('io', `xz: cannot compress ${data.length} bytes (liblzma says ${code})`);
  return out.subarray(0, written[0]);
}

const ZEROS = {
  ...Object.fromEntries(Array.from({ length: 8 }, (_, index) => [`uint32_t_${index}`, 0])),
  ...Object.fromEntries(Array.from({ length: 4 }, (_, index) => [`int_${index}`, 0])),
  pointer_0: null,
  pointer_1: null,
};

export interface XzLimits {
  /** Bytes of output, at most. */
  output: number;
  /** Bytes of memory that liblzma may take, beside input and output. */
  memory: number;
  /** Said in errors. */
  object: string;
}

/**
 * Unpacks one xz stream. How much there is is read from its index before anything is unpacked.
 *
 * @throws OstreeError `corrupt` for anything but one whole stream; `unsupported` when it is beyond a limit
 */
export function xzDecompress(data: Uint8Array, { output, memory, object }: XzLimits): Buffer {
  const length = xzContentLength(data, object);
  if (length > output) {
    throw new OstreeError('unsupported', `${object}: unpacks to ${length} bytes, more than the ${output} allowed`, {
      object,
    });
  }
  const out = Buffer.allocUnsafeSlow(Math.max(length, 1));
  const [read, written] = [[0], [0]];
  const code = lzma().decode([BigInt(memory)], 0, null, data, read, data.length, out, written, length);
  if (code === MEMORY_LIMIT) {
    throw new OstreeError('unsupported', `${object}: needs more than ${memory} bytes of memory to unpack`, { object });
  }
  if (code !== OK || read[0] !== data.length || written[0] !== length) {
    const why = code === OK || code === BUFFER_ERROR ? 'its lengths are wrong' : `liblzma says ${code}`;
    throw new OstreeError('corrupt', `${object}: not an xz stream, ${why}`, { object });
  }
  return out.subarray(0, length);
}

/** Header and footer of a stream are 12 bytes each. */
const FRAME_BYTES = 12;

/** Bytes that a single xz stream unpacks to, by its index (the .xz file format, sections 2.1.2 and 4). */
function xzContentLength(data: Uint8Array, object: string): number {
  const bad = (why: string) => new OstreeError('corrupt', `${object}: not an xz stream, ${why}`, { object });
  const buffer = Buffer.from(data.buffer, data.byteOffset, data.byteLength);
  if (data.length < 2 * FRAME_BYTES + 8 || data.length % 4 !== 0) throw bad('it is cut short');
  if (buffer.compare(MAGIC, 0, 6, 0, 6) !== 0) throw bad('it does not begin like one');
  const footer = data.length - FRAME_BYTES;
  if (buffer.toString('latin1', footer + 10) !== 'YZ') throw bad('it does not end like one');
  const indexBytes = (buffer.readUInt32LE(footer + 4) + 1) * 4;
  const start = footer - indexBytes;
  if (start < FRAME_BYTES || buffer[start] !== 0) throw bad('it has no index');
  let at = start + 1;
  const number = () => {
    let value = 0;
    for (let scale = 1; ; scale *= 0x80) {
      const byte = buffer[at++]!;
      value += (byte & 0x7f) * scale;
      if (at > footer - 4 || value > Number.MAX_SAFE_INTEGER) throw bad('its index is malformed');
      if (byte < 0x80) return value;
    }
  };
  const blocks = number();
  let total = 0;
  for (let index = 0; index < blocks; index++) {
    number(); // compressed
    total += number();
  }
  if (!Number.isSafeInteger(total)) throw bad('its index is absurd');
  return total;
}

const MAGIC = Buffer.from([0xfd, 0x37, 0x7a, 0x58, 0x5a, 0]);
