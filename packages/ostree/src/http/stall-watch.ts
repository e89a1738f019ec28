import { TransientError } from './errors.ts';

/** Something that moves bytes, and can be given up. */
export interface Watched {
  readonly received: number;
  /** Not the other side's fault: waiting for our own disk, or for its turn. */
  readonly waits: boolean;
  destroy(error: Error): void;
}

/** Gives up transfers that move too few bytes for too long. */
export class StallWatch {
  readonly #watched = new Map<Watched, { received: number; since: number }>();
  readonly #timer: NodeJS.Timeout;
  readonly #stallMs: number;
  readonly #bytesPerSecond: number;
  readonly #name: string;
  #lastTick = Date.now();

  constructor(name: string, { stallSeconds, bytesPerSecond }: { stallSeconds: number; bytesPerSecond: number }) {
    this.#name = name;
    this.#stallMs = 1000 * stallSeconds;
    this.#bytesPerSecond = bytesPerSecond;
    this.#timer = setInterval(() => this.#look(), Math.max(50, this.#stallMs / 4));
    this.#timer.unref();
  }

  add(transfer: Watched): void {
    this.#watched.set(transfer, { received: transfer.received, since: Date.now() });
  }

  delete(transfer: Watched): void {
    this.#watched.delete(transfer);
  }

  close(): void {
    clearInterval(this.#timer);
  }

  #look(): void {
    const now = Date.now();
    // When this process itself stood still, nobody has been watching the connections.
    const late = now - this.#lastTick > this.#stallMs / 2 + 100;
    this.#lastTick = now;
    for (const [transfer, window] of this.#watched) {
      const elapsed = now - window.since;
      if (!late && !transfer.waits && elapsed < this.#stallMs) continue;
      const bytes = transfer.received - window.received;
      window.since = now;
      window.received = transfer.received;
      if (late || transfer.waits || bytes >= (this.#bytesPerSecond * elapsed) / 1000) continue;
      transfer.destroy(new TransientError(`${this.#name}: stalled, ${bytes} bytes in ${Math.round(elapsed / 1000)} s`));
    }
  }
}
