/** Where a pull stands. */
export interface PullProgress {
  /** Objects fetched, and fetched or known to be needed so far; the second grows while folders are found. */
  objects: number;
  objectsKnown: number;
  /** Bytes received. */
  bytes: number;
  /** Bytes a second over the last seconds. */
  rate: number;
}

const EVERY_MS = 100;
const WINDOW_MS = 5000;

/** Counts, and tells a listener some ten times a second. */
export class ProgressMeter {
  objects = 0;
  objectsKnown = 0;
  bytes = 0;
  readonly #listener: ((progress: PullProgress) => void) | undefined;
  #told = 0;
  readonly #samples: [time: number, bytes: number][] = [[Date.now(), 0]];

  constructor(listener: ((progress: PullProgress) => void) | undefined) {
    this.#listener = listener;
  }

  /** @param now say it even if something was said just before */
  tell(now = false): void {
    if (!this.#listener) return;
    const time = Date.now();
    if (!now && time - this.#told < EVERY_MS) return;
    this.#told = time;
    this.#samples.push([time, this.bytes]);
    while (this.#samples.length > 2 && time - this.#samples[0]![0] > WINDOW_MS) this.#samples.shift();
    const [since, before] = this.#samples[0]!;
    const rate = time > since ? ((this.bytes - before) * 1000) / (time - since) : 0;
    this.#listener({ objects: this.objects, objectsKnown: this.objectsKnown, bytes: this.bytes, rate });
  }
}
