import { type XzOptions, xzCompress } from '../fs/lzma.ts';

/** As much as a part has, but for one with a single large file: eleven times this is what compressing takes. */
const DICTIONARY_BYTES = 8 * 1024 * 1024;
/** Preset 9e has 273: on patches, with their long runs of zeros, that takes twice the time for 2 %, on others 0.3 %. */
const SETTINGS: XzOptions = { nice: 128, dictionary: DICTIONARY_BYTES };
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
