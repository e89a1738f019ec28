/** Failures in a row that cost nothing: a program tries a few things at once with a password that was mistyped. */
const FREE = 5;
const LONGEST_MS = 60_000;
/** A key that has not failed for so long is as good as new. */
const FORGET_MS = 15 * 60_000;
/** Keys that are remembered, of failures and of successes each; beyond, the ones that were quiet longest go. */
const MOST_KEYS = 10_000;

/**
 * Slows down whoever fails to log in: after a few failures a key has to wait, twice as long after each further one.
 * What comes while it waits is not looked at and does not count, so a client that goes on asking gets out of it.
 */
export interface Throttle {
  /** ms that the key has to wait; 0 = it may try. */
  wait(key: string): number;
  failed(key: string): void;
  /** Remembers what was right: it need not wait for what others do at the same address. */
  succeeded(key: string): void;
  hasSucceeded(key: string): boolean;
}

export function createThrottle(now: () => number = Date.now): Throttle {
  const failures = new Map<string, { count: number; until: number; last: number }>();
  const successes = new Map<string, true>();
  return {
    wait(key) {
      const entry = failures.get(key);
      return entry === undefined ? 0 : Math.max(0, entry.until - now());
    },
    failed(key) {
      const at = now();
      const before = failures.get(key);
      const count = before === undefined || at - before.last > FORGET_MS ? 1 : before.count + 1;
      const pause = count <= FREE ? 0 : Math.min(1000 * 2 ** (count - FREE - 1), LONGEST_MS);
      keep(failures, key, { count, until: at + pause, last: at });
    },
    succeeded: (key) => keep(successes, key, true),
    hasSucceeded: (key) => successes.has(key),
  };
}

/** Sets a key as the newest of its map; the map stays bounded. */
function keep<T>(map: Map<string, T>, key: string, value: T): void {
  map.delete(key);
  map.set(key, value);
  if (map.size > MOST_KEYS) map.delete(map.keys().next().value!);
}
