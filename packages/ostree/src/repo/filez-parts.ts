import { encodeFilezHeader, type FileHeader } from '../formats/file.ts';
import type { Task } from '../work/task.ts';

/** Compressed pieces of a large file: long enough that restarting deflate costs nothing in size. */
const PIECE_BYTES = 1024 * 1024;
/** Not a number for each core: a worker takes some 40 MB, and a file alone is to take less than 400. */
const PIECES_AHEAD = 3;

type DeflatePiece = Extract<Task, { kind: 'deflate-piece' }>;

/**
 * The filez of a large file, compressed by several cores, in parts. The same file gives the same bytes as long as it is
 * the same program that compresses them.
 *
 * @param options `run` gives a task to the workers
 */
export async function* filezParts(
  { path, header, size }: { path: string; header: FileHeader; size: number },
  options: {
    level: number;
    signal: AbortSignal | undefined;
    run: (task: DeflatePiece, cost: number) => Promise<Uint8Array>;
  },
): AsyncGenerator<Uint8Array, void, undefined> {
  const { level, signal, run } = options;
  yield encodeFilezHeader(header, size);
  const ahead: Promise<Uint8Array>[] = [];
  let offset = 0;
  for (;;) {
    // What is under way, not the size of the file, is what is held in memory.
    while (offset < size && ahead.length < PIECES_AHEAD) {
      const length = Math.min(PIECE_BYTES, size - offset);
      const piece = { path, offset, length, last: offset + length === size, level };
      const promise = run({ kind: 'deflate-piece', piece }, length);
      promise.catch(() => {}); // looked at below, in order
      ahead.push(promise);
      offset += length;
    }
    const next = ahead.shift();
    if (!next) return;
    signal?.throwIfAborted();
    yield await next;
  }
}
