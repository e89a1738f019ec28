import { OstreeError } from '../errors.ts';

/** Old content, read where a patch or a copy needs it. */
export interface OldContent {
  readonly size: number;
  /** Bytes from `offset`, which are there; a view that is good until the next call. */
  read(offset: number, length: number): Uint8Array;
}

/** Bytes are patched in pieces of this size, so that no file is in memory as a whole. */
const PIECE_BYTES = 1024 * 1024;

/** Each control is three integers of eight bytes. */
const CONTROL_BYTES = 24;

/**
 * Carries out a patch of Matthew Endsley's bsdiff, without header: controls, each followed by the bytes to add to the
 * old content and by those that are new.
 *
 * @param write takes the new content in order; a view that is good until it returns
 * @throws OstreeError `corrupt` for wild lengths, and for a patch that makes anything but `newSize` bytes
 */
export function bspatch(
  old: OldContent,
  patch: Uint8Array,
  newSize: number,
  write: (piece: Uint8Array) => void,
  object: string,
): void {
  const buffer = Buffer.from(patch.buffer, patch.byteOffset, patch.byteLength);
  const out = Buffer.allocUnsafe(Math.min(PIECE_BYTES, newSize));
  const bad = (at: number, why: string) =>
    new OstreeError('corrupt', `${object}: bsdiff patch failed: ${why} at byte ${at} of the patch`, { object });
  let at = 0;
  let made = 0;
  let oldAt = 0;
  while (made < newSize) {
    if (at + CONTROL_BYTES > buffer.length) throw bad(at, 'it is cut short');
    const [add, extra, seek] = [readOffset(buffer, at), readOffset(buffer, at + 8), readOffset(buffer, at + 16)];
    const sane = [add, extra, seek].every(Number.isSafeInteger) && add >= 0 && extra >= 0;
    if (!sane || made + add + extra > newSize) throw bad(at, 'absurd lengths');
    at += CONTROL_BYTES;
    if (at + add + extra > buffer.length) throw bad(at, 'it is cut short');
    for (let done = 0; done < add; ) {
      const length = Math.min(out.length, add - done);
      addPiece(out, buffer, at + done, old, oldAt + done, length);
      write(out.subarray(0, length));
      done += length;
    }
    at += add;
    oldAt += add;
    if (extra > 0) write(buffer.subarray(at, at + extra));
    at += extra;
    made += add + extra;
    oldAt += seek;
    if (!Number.isSafeInteger(oldAt)) throw bad(at, 'an absurd position');
  }
}

/** Adds old bytes to those of the patch; outside of the old content there is nothing to add. */
function addPiece(out: Buffer, patch: Buffer, at: number, old: OldContent, oldAt: number, length: number): void {
  patch.copy(out, 0, at, at + length);
  const start = Math.max(oldAt, 0);
  const end = Math.min(oldAt + length, old.size);
  if (start >= end) return;
  const before = old.read(start, end - start);
  const shift = start - oldAt;
  for (let index = 0; index < before.length; index++) {
    out[shift + index] = (out[shift + index]! + before[index]!) & 0xff;
  }
}

/** Eight bytes, sign and magnitude, little-endian (`offtin`). */
function readOffset(buffer: Buffer, at: number): number {
  const high = buffer.readUInt32LE(at + 4);
  const magnitude = (high & 0x7fffffff) * 0x100000000 + buffer.readUInt32LE(at);
  return high & 0x80000000 ? -magnitude : magnitude;
}
