import { AgentError } from '../errors.ts';
import type { GatewayClient } from '../gateway/client.ts';
import type { Report } from '../state/schema.ts';
import type { StateStore } from '../state/store.ts';

/** A board that is cut off for months must not fill its disk with news. */
const LIMIT = 500;
/** Keeps a batch below the gateway's 100 KB, with reasons of a few KB each. */
const BATCH = 16;
const EVENTS = '/events';

/** The queue with new reports: a passing one replaces older passing ones of its path, and the oldest go first when full. */
export function enqueue(outbox: readonly Report[], reports: readonly Report[]): Report[] {
  let queue = [...outbox];
  for (const report of reports) {
    if (report.path !== EVENTS) queue = queue.filter((old) => !old.passing || old.path !== report.path);
    queue.push(report);
  }
  while (queue.length > LIMIT) {
    const passing = queue.findIndex((report) => report.passing);
    queue.splice(passing === -1 ? 0 : passing, 1);
  }
  return queue;
}

/**
 * Sends what is queued, in order; what arrived (or was refused for good) leaves the queue. Repeating is harmless: events
 * have ids, states are whole.
 *
 * @returns why it stopped early; null when the queue is empty
 */
export async function flush(store: StateStore, client: GatewayClient, signal?: AbortSignal): Promise<string | null> {
  let rest = [...store.current.outbox];
  if (rest.length === 0) return null;
  let problem: string | null = null;
  while (rest.length > 0) {
    const batch = nextBatch(rest);
    const first = batch[0];
    if (first === undefined) break;
    const body = first.path === EVENTS ? batch.map((report) => report.body) : first.body;
    try {
      await client.deliver({ method: first.method, path: first.path, body }, signal);
    } catch (error) {
      if (!(error instanceof AgentError)) throw error;
      problem = error.message;
      if (!refusedForGood(error)) break;
    }
    const sent = new Set(batch.map((report) => report.id));
    rest = rest.filter((report) => !sent.has(report.id));
  }
  if (rest.length !== store.current.outbox.length) await store.save({ outbox: rest });
  return rest.length === 0 ? null : problem;
}

/** Events that follow one another travel together. */
function nextBatch(queue: readonly Report[]): Report[] {
  if (queue[0]?.path !== EVENTS) return queue.slice(0, 1);
  const end = queue.findIndex((report) => report.path !== EVENTS);
  return queue.slice(0, Math.min(BATCH, end === -1 ? queue.length : end));
}

/** The server understood and does not want it: it would not want it tomorrow either. */
function refusedForGood(error: AgentError): boolean {
  return error.code === 'refused' && [400, 404, 405, 413, 422].includes(error.status ?? 0);
}
