import type { Repo } from '../repo/repo.ts';
import { outgoing } from './outgoing.ts';
import { encodePack, type PackPiece } from './pack.ts';
import type { ObjectToSend, SendQueue } from './send-queue.ts';

export interface SendPacksOptions {
  /** Streams at the same time, at most. */
  streams: number;
  signal: AbortSignal | undefined;
  /** Sends one pack, and resolves when all in it has been received. */
  send(pack: AsyncIterable<Buffer>): Promise<unknown>;
  /** Told of an object that has been given out. */
  sent(object: ObjectToSend): void;
  /** Told of the bytes of a pack that has been received. */
  arrived(bytes: number): void;
}

/** A pack ends after so much, so that no server and no proxy on the way finds a request too large or too long. */
const PACK_BYTES = 128 * 1024 * 1024;
const PACK_MS = 45_000;
/** A further stream is worth a request if so many objects wait. */
const OBJECTS_FOR_ANOTHER = 128;

/** Sends all that comes out of a queue, in a few streams. When one fails the others end, too. */
export async function sendPacks(repo: Repo, queue: SendQueue, options: SendPacksOptions): Promise<void> {
  let failure: { error: unknown } | undefined;
  const stream = async (index: number) => {
    if (index > 0 && !(await queue.until(OBJECTS_FOR_ANOTHER * index))) return;
    const pieces = outgoing(repo, queue, { signal: options.signal, sent: (object) => options.sent(object) });
    try {
      for (let next = await pieces.next(); !next.done && !failure; next = await pieces.next()) {
        const pack = new Pack(next.value, pieces);
        await options.send(encodePack(pack.pieces()));
        options.arrived(pack.bytes);
      }
    } catch (error) {
      failure ??= { error };
      queue.fail(error);
    } finally {
      await pieces.return();
    }
  };
  const streams = Array.from({ length: Math.max(1, options.streams) }, async (_, index) => {
    try {
      await stream(index);
    } catch (error) {
      failure ??= { error };
    }
  });
  await Promise.all(streams);
  if (failure) throw failure.error;
}

/** Takes pieces until a pack has enough of them; the next pack goes on, also in the middle of an object. */
class Pack {
  bytes = 0;
  readonly #first: readonly PackPiece[];
  readonly #source: AsyncGenerator<readonly PackPiece[], void, undefined>;

  constructor(first: readonly PackPiece[], source: AsyncGenerator<readonly PackPiece[], void, undefined>) {
    this.#first = first;
    this.#source = source;
  }

  async *pieces(): AsyncGenerator<readonly PackPiece[], void, undefined> {
    const until = Date.now() + PACK_MS;
    let group = this.#first;
    for (;;) {
      for (const { data } of group) this.bytes += data.length;
      yield group;
      if (this.bytes >= PACK_BYTES || Date.now() >= until) return;
      const next = await this.#source.next();
      if (next.done) return;
      group = next.value;
    }
  }
}
