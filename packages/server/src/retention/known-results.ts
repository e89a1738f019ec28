import type { Checksum } from '@treeline/ostree';
import type { Core } from '../core.ts';
import type { Queryable } from '../database/open.ts';
import { outputsOf } from '../executions/spec.ts';
import { STORE } from './tables.ts';

/** What the database knows of results of jobs. */
export interface KnownResults {
  /** By key those that runs may take. */
  current: Map<string, { outputs: Checksum[]; isUsed: boolean }>;
  /** Keys that made a commit, forgotten ones included. */
  madeBy: Map<Checksum, string[]>;
  /** What some run took for a key. */
  inputs: Map<string, Checksum[]>;
}

/** @param usedSince ms; what a run has taken since is used, and what a run has taken that goes on */
export async function readResults(db: Queryable, usedSince: number): Promise<KnownResults> {
  const known: KnownResults = { current: new Map(), madeBy: new Map(), inputs: new Map() };
  const add = <T>(lists: Map<T, string[]>, key: T, value: string) => {
    const list = lists.get(key);
    if (list) list.push(value);
    else lists.set(key, [value]);
  };
  const running = await keysOfRunningRuns(db);
  for (const row of await db.selectFrom('results').select(['key', 'outputs', 'used_at']).execute()) {
    const outputs = Object.values(outputsOf(row)).map(({ commit }) => commit);
    known.current.set(row.key, { outputs, isUsed: row.used_at >= usedSince || running.has(row.key) });
    for (const commit of outputs) add(known.madeBy, commit, row.key);
  }
  for (const row of await db.selectFrom('forgotten_results').select(['key', 'outputs']).execute()) {
    for (const { commit } of Object.values(outputsOf(row))) add(known.madeBy, commit, row.key);
  }
  for (const { key, commit } of await db.selectFrom('result_inputs').select(['key', 'commit']).execute()) {
    add(known.inputs, key, commit);
  }
  return known;
}

async function keysOfRunningRuns(db: Queryable): Promise<Set<string>> {
  const rows = await db
    .selectFrom('run_jobs')
    .innerJoin('runs', 'runs.id', 'run_jobs.run_id')
    .select('run_jobs.key')
    .where('runs.state', '=', 'running')
    .where('run_jobs.key', 'is not', null)
    .execute();
  return new Set(rows.map(({ key }) => key!));
}

/**
 * Takes commits that are gone out of what went into results. Whatever was made from them went with them; when a run makes
 * one of those results again, it is of other commits.
 */
export async function forgetInputs(db: Queryable, gone: readonly Checksum[]): Promise<void> {
  for (let at = 0; at < gone.length; at += AT_ONCE) {
    await db
      .deleteFrom('result_inputs')
      .where('commit', 'in', gone.slice(at, at + AT_ONCE))
      .execute();
  }
}

const AT_ONCE = 500;

/**
 * Takes results out of the build cache, unless a run has taken them since it was decided. What made them is remembered.
 *
 * @returns the keys that are forgotten
 */
export async function forgetResults(
  core: Pick<Core, 'db' | 'audit'>,
  { keys, usedSince, now }: { keys: ReadonlySet<string>; usedSince: number; now: number },
): Promise<string[]> {
  const forgotten: string[] = [];
  const all = [...keys];
  for (let at = 0; at < all.length; at += AT_ONCE) {
    const some = all.slice(at, at + AT_ONCE);
    await core.db.transaction().execute(async (trx) => {
      const rows = await trx
        .deleteFrom('results')
        .where('key', 'in', some)
        .where('used_at', '<', usedSince)
        .where((eb) => {
          const takenByRuns = eb
            .selectFrom('run_jobs')
            .innerJoin('runs', 'runs.id', 'run_jobs.run_id')
            .select('runs.id')
            .whereRef('run_jobs.key', '=', 'results.key')
            .where('runs.state', '=', 'running');
          return eb.not(eb.exists(takenByRuns));
        })
        .returning(['key', 'outputs'])
        .execute();
      if (rows.length === 0) return;
      await trx
        .insertInto('forgotten_results')
        .values(rows.map(({ key, outputs }) => ({ key, outputs, forgotten_at: now })))
        .onConflict((c) => c.doNothing())
        .execute();
      const data = { results: rows.map(({ key }) => key), count: rows.length };
      await core.audit.record({ caller: null, action: 'retention.forget', subject: STORE, data }, trx);
      forgotten.push(...rows.map(({ key }) => key));
    });
  }
  return forgotten;
}
