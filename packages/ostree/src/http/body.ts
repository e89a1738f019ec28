import { OstreeError } from '../errors.ts';

/** Received and not yet taken, before the sender is made to wait. */
const HIGH_WATER_BYTES = 512 * 1024;

/** The body of an answer, read once: as pieces, or as a whole. What reads too slowly slows the sender down. */
export class Body implements AsyncIterable<Buffer> {
  /** Bytes received so far. */
  received = 0;
  #pieces: Buffer[] = [];
  #held = 0;
  #state: 'open' | 'ended' | { error: unknown } = 'open';
  #wake: (() => void) | undefined;
  /** How much makes sense, once the whole is asked for. */
  #limit = Number.POSITIVE_INFINITY;
  #isWhole = false;
  /** Whether the sender is made to wait because nobody reads. */
  isSlow = false;
  readonly #flow: (on: boolean) => void;
  readonly #abandon: () => void;

  /**
   * @param flow makes the sender wait, or go on
   * @param abandon called when nobody wants the rest
   */
  constructor(flow: (on: boolean) => void, abandon: () => void) {
    this.#flow = flow;
    this.#abandon = abandon;
  }

  get ended(): boolean {
    return this.#state === 'ended';
  }

  push(piece: Buffer): void {
    this.received += piece.length;
    this.#pieces.push(piece);
    this.#held += piece.length;
    if (this.#isWhole) {
      if (this.#held > this.#limit) this.#notify();
      return;
    }
    if (this.#held > HIGH_WATER_BYTES && !this.isSlow) {
      this.isSlow = true;
      this.#flow(false);
    }
    this.#notify();
  }

  end(): void {
    if (this.#state === 'open') this.#state = 'ended';
    this.#notify();
  }

  fail(error: unknown): void {
    if (this.#state === 'open') this.#state = { error };
    this.#notify();
  }

  #notify(): void {
    const wake = this.#wake;
    this.#wake = undefined;
    wake?.();
  }

  /** Gives up the rest: the connection is closed unless all has come. */
  discard(): void {
    this.#pieces = [];
    if (this.#state === 'open') this.#abandon();
  }

  /**
   * The whole, or what came until `limit` was passed.
   *
   * @throws OstreeError `corrupt` beyond `limit` bytes; what the connection failed with. Either way `taken` gives
   *   what had come
   */
  async bytes(limit: number, what: string): Promise<Buffer> {
    this.#isWhole = true;
    this.#limit = limit;
    if (this.isSlow) this.#flow(true);
    while (this.#state === 'open' && this.#held <= limit) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
    if (this.#held > limit) {
      this.discard();
      throw tooLong(what, this.#held, limit);
    }
    if (typeof this.#state === 'object') throw this.#state.error;
    return this.taken();
  }

  /** What has come and was not read. */
  taken(): Buffer {
    return this.#pieces.length === 1 ? this.#pieces[0]! : Buffer.concat(this.#pieces, this.#held);
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Buffer, void, undefined> {
    try {
      for (;;) {
        const piece = this.#pieces.shift();
        if (piece) {
          this.#held -= piece.length;
          if (this.isSlow && this.#held <= HIGH_WATER_BYTES / 2) {
            this.isSlow = false;
            this.#flow(true);
          }
          yield piece;
          continue;
        }
        if (this.#state === 'ended') return;
        if (typeof this.#state === 'object') throw this.#state.error;
        await new Promise<void>((resolve) => {
          this.#wake = resolve;
        });
      }
    } finally {
      this.discard();
    }
  }
}

export function tooLong(what: string, length: number, limit: number): OstreeError {
  const message = `${what}: ${length} bytes exceeded maximum: at most ${limit} make sense`;
  return new OstreeError('corrupt', message, { offset: limit });
}
