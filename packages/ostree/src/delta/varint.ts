import { OstreeError } from '../errors.ts';

/** Appends an unsigned LEB128 integer: seven bits a byte, the least first (`_ostree_write_varuint64`). */
export function writeVarint(out: number[], value: number): void {
  let rest = value;
  while (rest >= 0x80) {
    out.push((rest % 0x80) | 0x80);
    rest = Math.floor(rest / 0x80);
  }
  out.push(rest);
}

/** A position in a byte string that varints are read from. */
export interface Cursor {
  readonly data: Uint8Array;
  at: number;
}

/**
 * Reads an unsigned LEB128 integer and moves the cursor behind it.
 *
 * @throws OstreeError `corrupt` when it is cut short, or larger than any offset can be
 */
export function readVarint(cursor: Cursor, object: string): number {
  const { data } = cursor;
  const start = cursor.at;
  let value = 0;
  let scale = 1;
  for (;;) {
    const byte = data[cursor.at];
    if (byte === undefined) {
      throw new OstreeError('corrupt', `${object}: Unexpected EOF reading varint at byte ${start}`, {
        object,
        offset: start,
      });
    }
    cursor.at++;
    value += (byte & 0x7f) * scale;
    if (value > Number.MAX_SAFE_INTEGER || cursor.at - start > 10) {
      throw new OstreeError('corrupt', `${object}: an absurd number at byte ${start}`, { object, offset: start });
    }
    if (byte < 0x80) return value;
    scale *= 0x80;
  }
}
