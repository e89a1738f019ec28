/** Where a pull stands. */
export interface PullProgress {
  /** Objects fetched, and fetched or known to be needed so far; the second grows while folders are found. */
  objects: number;
  objectsKnown: number;
  /** Bytes received. */
  bytes: number;
  /** Bytes that there will be, where commits say the sizes of their objects; otherwise null. */
  bytesExpected: number | null;
  /** Bytes a second over the last seconds. */
  rate: number;
  /** About how long the rest takes; null while that cannot be said. */
  secondsLeft: number | null;
}

const EVERY_MS = 100;
const WINDOW_MS = 5000;

/** Before so many objects nothing can be said of the rest. */
const ENOUGH_OBJECTS = 20;

interface Sample {
  time: number;
  bytes: number;
  objects: number;
}

/** Counts, and tells a listener some ten times a second. */
export class ProgressMeter {
  objects = 0;
  objectsKnown = 0;
  bytes = 0;
  bytesExpected: number | null = null;
  /** Folders are still being found, so that there is more to come than is known. */
  counting = false;
  readonly #listener: ((progress: PullProgress) => void) | undefined;
  #told = 0;
  readonly #samples: Sample[] = [{ time: Date.now(), bytes: 0, objects: 0 }];

  constructor(listener: ((progress: PullProgress) => void) | undefined) {
    this.#listener = listener;
  }

  /** @param now say it even if something was said just before */
  tell(now = false): void {
    if (!this.#listener) return;
    const time = Date.now();
    if (!now && time - this.#told < EVERY_MS) return;
    this.#told = time;
    const { objects, objectsKnown, bytes, bytesExpected } = this;
    this.#samples.push({ time, bytes, objects });
    while (this.#samples.length > 2 && time - this.#samples[0]!.time > WINDOW_MS) this.#samples.shift();
    const since = this.#samples[0]!;
    const rate = perSecond(bytes - since.bytes, time - since.time);
    const secondsLeft = this.#secondsLeft(rate, perSecond(objects - since.objects, time - since.time));
    this.#listener({ objects, objectsKnown, bytes, bytesExpected, rate, secondsLeft });
  }

  #secondsLeft(bytesRate: number, objectsRate: number): number | null {
    if (this.bytesExpected !== null) {
      return bytesRate > 0 ? Math.max(0, this.bytesExpected - this.bytes) / bytesRate : null;
    }
    if (this.counting || this.objects < ENOUGH_OBJECTS || objectsRate === 0) return null;
    return Math.max(0, this.objectsKnown - this.objects) / objectsRate;
  }
}

function perSecond(amount: number, milliseconds: number): number {
  return milliseconds > 0 ? (amount * 1000) / milliseconds : 0;
}
