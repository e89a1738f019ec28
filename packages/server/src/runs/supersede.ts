import type { Actor } from '../access/audit.ts';
import type { Core } from '../core.ts';
import type { Queryable } from '../database/open.ts';
import { ServerError } from '../errors.ts';
import { dropUnwanted } from '../executions/queue.ts';
import type { RunRow } from './tables.ts';

/**
 * A run by a newer push ends older runs of the same branch that still have work to start: what runs goes on (its
 * result is kept), what waits is cancelled. A run whose work is all under way, or that publishes, is left alone.
 * Call in the transaction that notes the newer run's jobs.
 */
export async function supersedeOlder(trx: Queryable, core: Core, run: RunRow): Promise<void> {
  if (run.trigger_project === null) return;
  const older = await trx
    .selectFrom('runs')
    .selectAll()
    .where('state', '=', 'running')
    .where('number', '<', run.number)
    .where('trigger_project', '=', run.trigger_project)
    .where('trigger_branch', '=', run.trigger_branch)
    .execute();
  for (const old of older) {
    const jobs = await trx.selectFrom('run_jobs').select('state').where('run_id', '=', old.id).execute();
    const planned = jobs.length > 0;
    if (planned && !jobs.some((job) => job.state === 'blocked' || job.state === 'queued')) continue;
    const message = `superseded by ${run.id}`;
    await endRun(trx, core, { run: old, state: 'superseded', jobStates: ['blocked', 'queued'], message });
  }
}

/** Ends a run by hand: nothing of it goes on that no other run wants. @throws ServerError `not-found`, `conflict` */
export async function cancelRun(core: Core, id: string, by: Actor): Promise<void> {
  await core.db.transaction().execute(async (trx) => {
    const run = await trx.selectFrom('runs').selectAll().where('id', '=', id).executeTakeFirst();
    if (!run) throw new ServerError('not-found', `there is no run ${id}`);
    if (run.state === 'cancelled') return;
    if (run.state !== 'running') throw new ServerError('conflict', `${id} has ended: it ${run.state}`);
    const message = 'cancelled by hand';
    await endRun(trx, core, { run, state: 'cancelled', jobStates: ['blocked', 'queued', 'running'], message });
    await core.audit.record({ caller: by, action: 'run.cancel', subject: id }, trx);
  });
  core.work.notify();
}

async function endRun(
  trx: Queryable,
  core: Core,
  o: {
    run: RunRow;
    state: 'superseded' | 'cancelled';
    jobStates: ('blocked' | 'queued' | 'running')[];
    message: string;
  },
): Promise<void> {
  const now = Date.now();
  await trx.updateTable('runs').set({ state: o.state, finished_at: now }).where('id', '=', o.run.id).execute();
  const failure = JSON.stringify({ reason: o.state, message: o.message });
  const ended = await trx
    .updateTable('run_jobs')
    .set({ state: 'cancelled', failure, finished_at: now })
    .where('run_id', '=', o.run.id)
    .where('state', 'in', o.jobStates)
    .returning('execution_id')
    .execute();
  await dropUnwanted(
    trx,
    ended.map((job) => job.execution_id).filter((execution) => execution !== null),
  );
  const { id, number } = o.run;
  await core.events.append('run.finished', { run: id, number, state: o.state, message: o.message }, trx);
}
