/** Milliseconds to wait before try number `failures` + 1: 0.2 s doubling to 5 s, spread so that runners do not come at once. */
export function backOff(failures: number): number {
  return Math.min(100 * 2 ** failures, 5_000) * (0.75 + Math.random() / 2);
}
