import { setImmediate as turn } from 'node:timers/promises';

/** How long work on files may keep everything else in the process waiting. */
const SLICE_MS = 20;

/** Lets others run now and then in the middle of long synchronous work, and looks whether it is still wanted. */
export function timeSlices(signal: AbortSignal | undefined): () => Promise<void> | undefined {
  let until = performance.now() + SLICE_MS;
  return () => {
    if (performance.now() < until) return undefined;
    signal?.throwIfAborted();
    return turn().then(() => {
      until = performance.now() + SLICE_MS;
    });
  };
}
