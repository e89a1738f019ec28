import { type XzOptions, xzCompress } from '../fs/lzma.ts';
import { release } from './release.ts';

/** What a payload mostly consists of. */
export interface PayloadKind {
  /** There is x86 machine code in it that is not in a patch. */
  code: boolean;
  /** It is mostly patches: long runs of zeros with a little between them, for which a long search costs most. */
  patches: boolean;
}

/** As much as a part has, but for one with a single large file: eleven times this is what compressing takes. */
const DICTIONARY_BYTES = 8 * 1024 * 1024;

/** Compresses a part's payload into one xz stream, as libostree's reader wants it. The same payload, the same bytes. */
export function compressPayload(payload: Uint8Array, { code, patches }: PayloadKind): Buffer {
  // Preset 9e searches as far as 273; on patches 128 takes half of the time for 2 % more.
  const settings: XzOptions = { nice: patches ? 128 : 273, dictionary: DICTIONARY_BYTES };
  const plain = xzCompress(payload, settings);
  if (!code) return plain;
  // Usually 6 % less; data that only looks like code gets more.
  const filtered = xzCompress(payload, { ...settings, x86: true });
  const [best, other] = filtered.length < plain.length ? [filtered, plain] : [plain, filtered];
  release(other);
  return best;
}
