import { setTimeout as sleep } from 'node:timers/promises';
import type { Lease, RunnerOffer } from '../protocol.ts';
import { backOff } from './back-off.ts';
import type { RunnerClient } from './client.ts';

export type LoopOptions = {
  client: RunnerClient;
  offer: RunnerOffer;
  concurrency: number;
  waitSeconds: number;
  /** Carries out a lease to its end; never rejects. */
  carryOut: (lease: Lease) => Promise<void>;
  log: (line: string) => void;
  /** No more leases after this. */
  signal: AbortSignal;
};

/** An answer "nothing to do" that came faster than this was no long poll: ask more slowly. */
const FASTEST_EMPTY_MS = 250;

/**
 * Leases jobs while there is room for them, one long poll at a time, until `signal`; then waits for those that run. A
 * server that does not answer is asked again with growing pauses: it may be restarting. Throws RunnerError
 * `unauthorized`.
 */
export async function leaseLoop(o: LoopOptions): Promise<void> {
  const running = new Set<Promise<void>>();
  let failures = 0;
  try {
    while (!o.signal.aborted) {
      if (running.size >= o.concurrency) {
        await Promise.race(running);
        continue;
      }
      const asked = performance.now();
      const answer = await o.client.lease({ runner: o.offer, waitSeconds: o.waitSeconds }, o.signal);
      if (answer.kind === 'ok') {
        if (failures > 0) o.log('the server answers again');
        failures = 0;
        if (answer.body === null) {
          const tookMs = performance.now() - asked;
          if (tookMs < FASTEST_EMPTY_MS) await pause(FASTEST_EMPTY_MS - tookMs, o.signal);
          continue;
        }
        const job = o.carryOut(answer.body);
        running.add(job);
        void job.finally(() => running.delete(job));
        continue;
      }
      if (o.signal.aborted) break;
      failures++;
      if (failures === 1) o.log(`no lease: ${answer.kind === 'stale' ? 'stale' : answer.message}; tries again`);
      await pause(backOff(failures), o.signal);
    }
  } finally {
    await Promise.all(running);
  }
}

async function pause(ms: number, signal: AbortSignal): Promise<void> {
  await sleep(ms, undefined, { signal }).catch(() => {});
}
