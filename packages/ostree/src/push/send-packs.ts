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

/** Nothing is kept waiting for objects that are still being looked for: a request that does not move is given up. */
const PATIENCE_MS = 3000;

type Group = readonly PackPiece[];

/** Sends all that comes out of a queue, in a few streams. When one fails the others end, too. */
export async function sendPacks(repo: Repo, queue: SendQueue, options: SendPacksOptions): Promise<void> {
  let failure: { error: unknown } | undefined;
  const stream = async (index: number) => {
    if (index > 0 && !(await queue.until(OBJECTS_FOR_ANOTHER * index))) return;
    const groups = outgoing(repo, queue, { signal: options.signal, sent: (object) => options.sent(object) });
    const source = new Source(groups);
    try {
      for (let first = await source.next(); first && !failure; first = await source.next()) {
        const pack = new Pack(first, source);
        await options.send(encodePack(pack.groups()));
        options.arrived(pack.bytes);
      }
    } catch (error) {
      failure ??= { error };
      queue.fail(error);
    } finally {
      await groups.return();
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

/** What there is to be sent, for one pack after the other. */
class Source {
  readonly #groups: AsyncGenerator<Group, void, undefined>;
  /** What was asked for and did not come in time. */
  #pending: Promise<IteratorResult<Group, void>> | undefined;

  constructor(groups: AsyncGenerator<Group, void, undefined>) {
    this.#groups = groups;
  }

  /** The next group, when it is there; null at the end, or (with a patience) when it takes too long. */
  async next(patienceMs?: number): Promise<Group | null> {
    this.#pending ??= this.#groups.next();
    const pending = this.#pending;
    if (patienceMs !== undefined) {
      pending.catch(() => {}); // whoever asks next will hear of it
      let timer: NodeJS.Timeout | undefined;
      const late = new Promise<'late'>((resolve) => {
        timer = setTimeout(() => resolve('late'), patienceMs);
      });
      const first = await Promise.race([pending, late]);
      clearTimeout(timer);
      if (first === 'late') return null;
    }
    const { done, value } = await pending;
    this.#pending = undefined;
    return done ? null : value;
  }
}

/** Takes groups until a pack has enough of them; the next pack goes on, also in the middle of an object. */
class Pack {
  bytes = 0;
  readonly #first: Group;
  readonly #source: Source;

  constructor(first: Group, source: Source) {
    this.#first = first;
    this.#source = source;
  }

  async *groups(): AsyncGenerator<Group, void, undefined> {
    const until = Date.now() + PACK_MS;
    for (let group: Group | null = this.#first; group; group = await this.#source.next(PATIENCE_MS)) {
      for (const { data } of group) this.bytes += data.length;
      yield group;
      if (this.bytes >= PACK_BYTES || Date.now() >= until) return;
    }
  }
}
