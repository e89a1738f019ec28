import { type XzOptions, xzCompress } from '../fs/lzma.ts';

/**
 * Preset 8 looks back 32 MiB. In what a delta holds there is next to nothing to find so far back (2 MiB cost 0.3 %), and
 * what is looked through all the time then stays in the processor's cache. Compressing takes twelve times this.
 */
const DICTIONARY_BYTES = 2 * 1024 * 1024;
/**
 * Preset 8 has nice 64, 9e 273, and a depth of 16 + nice / 2. Patches are zeros with a few other bytes between them, for
 * which a longer search takes long and finds little: the default depth takes a third more time for 1 %.
 */
const SETTINGS: XzOptions = { nice: 128, depth: 24, dictionary: DICTIONARY_BYTES };
/** Enough to see whether jump targets are better rewritten. */
const SAMPLE_BYTES = 512 * 1024;

/**
 * Compresses a part's payload into one xz stream, as libostree's reader wants it. The same payload, the same bytes.
 *
 * @param code there is x86 machine code in it that is not in a patch
 */
export function compressPayload(payload: Uint8Array, { code }: { code: boolean }): Buffer {
  return xzCompress(payload, { ...SETTINGS, x86: code && isBetterFiltered(payload) });
}

/** Code gets some 6 % smaller; what only looks like code gets larger. */
function isBetterFiltered(payload: Uint8Array): boolean {
  const start = Math.max(0, (payload.length - SAMPLE_BYTES) >> 1);
  const sample = payload.subarray(start, start + SAMPLE_BYTES);
  const settings = { ...SETTINGS, nice: 32 };
  return xzCompress(sample, { ...settings, x86: true }).length < xzCompress(sample, settings).length;
}
