import { setTimeout as sleep } from 'node:timers/promises';
import { OstreeError, openRepo, removeLeftovers } from '@treeline/ostree';
import type { Core } from '../core.ts';
import type { PublishedRepository } from '../publish/registry.ts';
import type { Origins } from './origins.ts';
import { type PassOptions, type PassReport, passOver } from './pass.ts';
import { passOverStore, type StorePassReport } from './store.ts';
import { STORE } from './tables.ts';

/** Looks after what repositories keep. */
export interface Retention {
  /** Looks at every repository now and then, until the server closes. */
  run(): Promise<void>;
  /** Looks at one repository now, when it is its turn. */
  pass(repository: PublishedRepository, o: Omit<PassOptions, 'now'>): Promise<PassReport>;
  passStore(o: Omit<PassOptions, 'now'>): Promise<StorePassReport>;
}

const HOUR_MS = 3_600_000;
/** What no commit needs is looked for this long after the last prune; what goes by decision goes at once. */
const THOROUGH_MS = 24 * HOUR_MS;
/** The store is looked at every so many rounds, and what killed processes left is cleared away. */
const STORE_ROUNDS = 10;
const LEFTOVER_ROUNDS = 60;

export function createRetention(core: Core, now: () => number = Date.now): Retention {
  const startedAt = now();
  const origins: Origins = new Map();
  let turn: Promise<unknown> = Promise.resolve();
  /** One after the other: two prunes of one repository would only wait for each other. */
  const inTurn = <T>(work: () => Promise<T>): Promise<T> => {
    const mine = turn.then(work);
    turn = mine.catch(() => {});
    return mine;
  };
  const pass: Retention['pass'] = (repository, o) => inTurn(() => passOver(core, repository, { ...o, now }));
  const passStore: Retention['passStore'] = (o) => inTurn(() => passOverStore(core, { ...o, now, origins }));

  const isDue = async (name: string): Promise<boolean> => {
    const last = await core.db
      .selectFrom('prunes')
      .select('finished_at')
      .where('repository', '=', name)
      .executeTakeFirst();
    return last === undefined ? now() - startedAt > HOUR_MS : now() - last.finished_at > THOROUGH_MS;
  };
  const attempt = async (name: string, work: () => Promise<unknown>): Promise<void> => {
    try {
      await work();
    } catch (error) {
      const isGone = name !== STORE && core.repositories.find(name) === null;
      if (core.signal.aborted || isGone) return;
      core.log.error({ err: error, repository: name }, 'retention failed here; it is tried again');
    }
  };
  const forgetRemoved = async (): Promise<void> => {
    const names = [STORE, ...core.repositories.list().map(({ name }) => name)];
    for (const table of ['dropped_commits', 'prunes'] as const) {
      await core.db.deleteFrom(table).where('repository', 'not in', names).execute();
    }
  };
  const round = async (number: number): Promise<void> => {
    if (number % LEFTOVER_ROUNDS === LEFTOVER_ROUNDS - 1) await attempt(STORE, () => clearLeftovers(core, {}));
    for (const repository of core.repositories.list()) {
      if (core.signal.aborted) return;
      const { name } = repository;
      await attempt(name, async () => pass(repository, { caller: null, thorough: await isDue(name) }));
    }
    if (number % STORE_ROUNDS !== 0) return;
    await attempt(STORE, forgetRemoved);
    await attempt(STORE, async () => passStore({ caller: null, thorough: await isDue(STORE) }));
  };

  return {
    pass,
    passStore,
    async run() {
      for (let number = 0; !core.signal.aborted; number++) {
        await round(number);
        await sleep(core.settings.retentionSeconds * 1000, undefined, { signal: core.signal, ref: false }).catch(
          () => {},
        );
      }
    },
  };
}

/** How long the start of the server waits for a process of an earlier life that still writes. */
const PATIENCE_MS = 10_000;

/**
 * Removes what killed processes have left half-written in the store and in every published repository.
 *
 * @param o.alone it is the start of the server: whatever is not finished is nobody's
 */
export async function clearLeftovers(core: Core, o: { alone?: boolean }): Promise<void> {
  const open = core.repositories.list().map(({ path }) => openRepo(path));
  for (const repo of [core.store, ...(await Promise.all(open))]) {
    const patience = AbortSignal.timeout(o.alone ? PATIENCE_MS : HOUR_MS);
    try {
      const removed = await removeLeftovers(repo, { ...o, signal: AbortSignal.any([core.signal, patience]) });
      if (removed.length > 0) core.log.info({ repo: repo.path, removed: removed.length }, 'cleared away what was left');
    } catch (error) {
      if (!patience.aborted && !(error instanceof OstreeError)) throw error;
      // It only takes room: the next transaction removes most of it, and a later round the rest.
      core.log.warn({ err: error, repo: repo.path }, 'could not clear away what was left');
    }
  }
}
