/** What is known of the time on a board whose own clock may be years off. */
export interface DeviceClock {
  /** The board's clock shows a time that can be. */
  isPlausible(): boolean;
  /** ms since the epoch: the board's clock, corrected by what the server said where the clock cannot be right. */
  now(): number;
  /** The server said what time it is, and proved that it is the server. */
  heard(serverTime: number): void;
  /** How far the board's clock is behind the server's, ms; null before the server was heard. */
  behind(): number | null;
}

export interface DeviceClockOptions {
  /** Moments before which it cannot be, and after which, ms: something is known to have happened by then, or not to last so long. */
  earliest: number;
  latest: number;
  now?: (() => number) | undefined;
}

/**
 * A board without a battery begins in 1970, one with an empty battery anywhere. What bounds the time is signed: the
 * gateway's CA began before, and is still in use; the board's own certificate was made before. Within these bounds the
 * board's clock is believed; outside, certificates are judged by what the server said, or not by time at all.
 */
export function createDeviceClock(o: DeviceClockOptions): DeviceClock {
  const now = o.now ?? Date.now;
  let offset: number | null = null;
  const isPlausible = () => now() >= o.earliest && now() <= o.latest;
  return {
    isPlausible,
    now: () => (isPlausible() || offset === null ? now() : now() + offset),
    heard(serverTime) {
      if (serverTime >= o.earliest && serverTime <= o.latest) offset = serverTime - now();
    },
    behind: () => offset,
  };
}
