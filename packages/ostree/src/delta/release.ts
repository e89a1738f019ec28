/** Less than this is not worth it, and may be part of a buffer that others use. */
const LARGE_BYTES = 1024 * 1024;

/**
 * Gives the memory of a large buffer back at once. The collector counts such memory late: a worker that handles a few
 * files of tens of megabytes would hold hundreds. Only for who owns the buffer: nobody can use it, or a view of the
 * same memory, any more.
 */
export function release(data: Uint8Array): void {
  const { buffer } = data;
  if (buffer instanceof ArrayBuffer && buffer.byteLength >= LARGE_BYTES) buffer.transfer(0);
}
