import type { Step } from './matcher.ts';

/** Each control is three integers of eight bytes. */
const CONTROL_BYTES = 24;

/**
 * Writes steps as a patch of Matthew Endsley's bsdiff without header: for each a control (bytes to add, new bytes, how
 * far to move in the old content), the differences, and the new bytes.
 *
 * @param room gives the buffer for it, of which the result is a view
 */
export function encodePatch(
  old: Uint8Array,
  content: Uint8Array,
  steps: readonly Step[],
  room: (length: number) => Buffer = (length) => Buffer.allocUnsafeSlow(length),
): Buffer {
  const patch = room(steps.length * CONTROL_BYTES + content.length);
  let at = 0;
  for (const [index, { oldStart, newStart, similar, fresh }] of steps.entries()) {
    const next = steps[index + 1];
    writeOffset(patch, at, similar);
    writeOffset(patch, at + 8, fresh);
    writeOffset(patch, at + 16, next ? next.oldStart - (oldStart + similar) : 0);
    at += CONTROL_BYTES;
    for (let byte = 0; byte < similar; byte++) patch[at + byte] = content[newStart + byte]! - old[oldStart + byte]!;
    at += similar;
    patch.set(content.subarray(newStart + similar, newStart + similar + fresh), at);
    at += fresh;
  }
  return patch.subarray(0, at);
}

/** Sign and magnitude, little-endian. */
function writeOffset(buffer: Buffer, at: number, value: number): void {
  const magnitude = Math.abs(value);
  buffer.writeUInt32LE(magnitude % 0x100000000, at);
  buffer.writeUInt32LE((Math.floor(magnitude / 0x100000000) | (value < 0 ? 0x80000000 : 0)) >>> 0, at + 4);
}
