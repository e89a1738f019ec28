import { type XzOptions, xzCompress } from '../fs/lzma.ts';

/** Compresses a part's payload, with the settings that make it smallest of a few. The same payload, the same bytes. */
export function compressPayload(payload: Uint8Array, { code }: { code: boolean }): Buffer {
  const settings: XzOptions = { nice: 273 };
  const plain = xzCompress(payload, settings);
  if (!code) return plain;
  const filtered = xzCompress(payload, { ...settings, x86: true });
  return filtered.length < plain.length ? filtered : plain;
}
