import type { Readable } from 'node:stream';
import type { FileNode } from './diff.ts';

/** Whether two files of the same size hold the same bytes. Stops at the first piece that differs. */
export async function sameContent(a: FileNode, b: FileNode): Promise<boolean> {
  if (a.checksum === b.checksum) return true;
  const [left, right] = [await a.content(), await b.content()];
  try {
    const pieces = right[Symbol.asyncIterator]() as AsyncIterator<Buffer>;
    let other: Buffer = Buffer.alloc(0);
    for await (const chunk of left as AsyncIterable<Buffer>) {
      for (let at = 0; at < chunk.length; ) {
        if (other.length === 0) {
          const { done, value } = await pieces.next();
          if (done) return false;
          other = value;
          continue;
        }
        const length = Math.min(other.length, chunk.length - at);
        if (!chunk.subarray(at, at + length).equals(other.subarray(0, length))) return false;
        other = other.subarray(length);
        at += length;
      }
    }
    return other.length === 0 && (await pieces.next()).done === true;
  } finally {
    left.destroy();
    right.destroy();
  }
}

/** All of a stream, or null when it is longer than `limit`. */
export async function readUpTo(stream: Readable, limit: number): Promise<Buffer | null> {
  const chunks: Buffer[] = [];
  let length = 0;
  for await (const chunk of stream as AsyncIterable<Buffer>) {
    length += chunk.length;
    if (length > limit) return null; // leaving the loop destroys the stream
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}
