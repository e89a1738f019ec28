import type { Core } from '../core.ts';
import { messageOf } from '../errors.ts';
import { type Attempt, publish } from './publication.ts';
import { channelsOf, nextPublications, type Publication, pendingPublications, replaces } from './queue.ts';
import { refreshRepository } from './refresh.ts';

const LOOK_AGAIN_MS = 10_000;
const FIRST_PAUSE_MS = 2000;
const LONGEST_PAUSE_MS = 60_000;
/** Publications of different channels go on side by side; what takes long in one, deltas, is done one at a time. */
const AT_ONCE = 4;

export interface PublisherOptions {
  /**
   * Called before each step, with its name. Tests throw from it what a crash there would leave; the publisher then
   * ends with what was thrown.
   */
  checkpoint?: (step: string) => void | Promise<void>;
}

/** A publication that could not go on: when it is tried again. */
interface Pause {
  until: number;
  ms: number;
}

/**
 * Publishes what was decided, until the server closes: channel after channel in the order of the decisions, the newest
 * release of a channel first. What cannot be published now is tried again later; other channels go on. Every step may
 * be repeated, so what a crash interrupted simply begins again.
 */
export async function runPublisher(core: Core, options: PublisherOptions = {}): Promise<void> {
  const active = new Map<
    number,
    { publication: Publication; stop: AbortController; attempt: Attempt; end: Promise<void> }
  >();
  const pauses = new Map<number, Pause>();
  /** When a repository that could not be refreshed is tried again. */
  const refreshes = new Map<string, number>();
  let crash: { error: unknown } | null = null;
  const checkpoint = async (step: string): Promise<void> => {
    if (crash) throw crash.error;
    try {
      await options.checkpoint?.(step);
    } catch (error) {
      crash = { error };
      throw error;
    }
  };

  const lingering = new Set<Promise<void>>();
  const linger = (work: Promise<void>): void => {
    lingering.add(work);
    work.catch(() => {}).finally(() => lingering.delete(work));
  };

  const begin = (publication: Publication): void => {
    const { number } = publication.row;
    const stop = new AbortController();
    const attempt: Attempt = { final: false };
    const signal = AbortSignal.any([core.signal, stop.signal]);
    const end = publish(core, publication, { signal, attempt, checkpoint, linger })
      .then(() => void pauses.delete(number))
      .catch(async (error: unknown) => {
        if (crash || core.signal.aborted || stop.signal.aborted) return;
        const ms = Math.min((pauses.get(number)?.ms ?? FIRST_PAUSE_MS / 2) * 2, LONGEST_PAUSE_MS);
        pauses.set(number, { until: Date.now() + ms, ms });
        core.log.error({ err: error, publication: number }, 'a release could not be published; it is tried again');
        await noteTrouble(core, number, messageOf(error)).catch(() => {});
      })
      .finally(() => {
        active.delete(number);
        core.publishing.notify();
      });
    active.set(number, { publication, stop, attempt, end });
  };

  const step = async (): Promise<number> => {
    const pending = await pendingPublications(core.db);
    const now = Date.now();
    const paused = pending.filter(({ row }) => (pauses.get(row.number)?.until ?? 0) > now);
    for (const { publication, stop, attempt } of active.values()) {
      const isWanted = pending.some(({ row }) => row.number === publication.row.number);
      const isReplaced = pending.some((newer) => replaces(newer, publication));
      if (!attempt.final && (!isWanted || isReplaced)) stop.abort();
    }
    const busy = new Set([...active.values()].flatMap((one) => channelsOf(one.publication)));
    for (const one of paused) for (const channel of channelsOf(one)) busy.add(channel);
    for (const next of nextPublications(pending, busy)) if (active.size < AT_ONCE) begin(next);
    for (const { name, refresh } of core.repositories.list()) {
      if (!refresh || (refreshes.get(name) ?? 0) > now) continue;
      refreshes.set(name, now + LOOK_AGAIN_MS);
      if (await refreshRepository(core, name)) refreshes.delete(name);
    }
    const soonest = Math.min(...paused.map(({ row }) => pauses.get(row.number)!.until));
    return Math.min(LOOK_AGAIN_MS, Math.max(soonest - Date.now(), 10));
  };

  while (!core.signal.aborted && !crash) {
    const seen = core.publishing.version;
    let wait: number;
    try {
      wait = await step();
    } catch (error) {
      wait = FIRST_PAUSE_MS;
      if (!core.signal.aborted) core.log.error({ err: error }, 'what waits to be published could not be looked at');
    }
    await core.publishing.past(seen, wait, core.signal);
  }
  await Promise.allSettled([...active.values()].map(({ end }) => end));
  await Promise.allSettled(lingering);
  if (crash) throw (crash as { error: unknown }).error;
}

/** Shows why a publication waits; its next success takes the message away. */
async function noteTrouble(core: Core, number: number, message: string): Promise<void> {
  await core.db
    .updateTable('publications')
    .set({ message: `${message} (it is tried again)` })
    .where('number', '=', number)
    .where('state', '=', 'publishing')
    .execute();
}
