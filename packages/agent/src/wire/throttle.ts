import { setTimeout as sleep } from 'node:timers/promises';

/** Lets so many bytes a second through. */
export interface Throttle {
  /** Resolves when `bytes` more may have passed. */
  take(bytes: number, signal?: AbortSignal): Promise<void>;
}

/** A quarter of a second may pass at once: what is smaller would cost more in waiting than it levels. */
const BURST_MS = 250;

/** @param limit bytes per second for all that share it; null: no limit */
export function createThrottle(limit: number | null, now: () => number = () => performance.now()): Throttle {
  let free = now();
  return {
    async take(bytes, signal) {
      if (limit === null) return;
      const at = now();
      free = Math.max(free, at - BURST_MS) + (bytes / limit) * 1000;
      if (free > at) await sleep(free - at, undefined, signal === undefined ? {} : { signal });
    },
  };
}
