import { randomBytes } from 'node:crypto';
import type { Core } from '../core.ts';
import type { Queryable } from '../database/open.ts';
import type { ExecutionSpec } from './spec.ts';
import type { ExecutionOutcome, ExecutionRow } from './tables.ts';

/** Why an execution did not pass; stored as JSON, shown to people. */
export interface ExecutionFailure {
  reason: string;
  message: string;
  exitCode?: number | undefined;
}

/**
 * The execution of a key that is under way, or a new one. Runs that want the same key share it.
 * Call in a transaction that also notes who wants it.
 */
export async function wantExecution(trx: Queryable, spec: ExecutionSpec): Promise<ExecutionRow> {
  const active = await trx
    .selectFrom('executions')
    .selectAll()
    .where('key', '=', spec.key)
    .where('state', '!=', 'done')
    .executeTakeFirst();
  if (active) {
    // It was being cancelled for want of anybody who wants it.
    if (active.cancel_requested) {
      await trx.updateTable('executions').set({ cancel_requested: 0 }).where('id', '=', active.id).execute();
    }
    return active;
  }
  const row: ExecutionRow = {
    id: `x${randomBytes(8).toString('hex')}`,
    key: spec.key,
    kind: spec.work.kind,
    state: 'queued',
    outcome: null,
    token: 0,
    lost: 0,
    deadline: null,
    runner: null,
    session: null,
    cancel_requested: 0,
    spec: JSON.stringify(spec),
    failure: null,
    emulated: null,
    created_at: Date.now(),
    started_at: null,
    finished_at: null,
  };
  await trx.insertInto('executions').values(row).execute();
  return row;
}

/**
 * Ends executions that no run wants any more: a queued one at once, a leased one by telling its runner.
 * Call in the transaction that took the wish away.
 */
export async function dropUnwanted(trx: Queryable, executionIds: readonly string[]): Promise<void> {
  for (const id of new Set(executionIds)) {
    const wanted = await trx
      .selectFrom('run_jobs')
      .select('run_id')
      .where('execution_id', '=', id)
      .where('state', 'in', ['queued', 'running'])
      .executeTakeFirst();
    if (wanted) continue;
    await trx
      .updateTable('executions')
      .set({ state: 'done', outcome: 'cancelled', finished_at: Date.now() })
      .where('id', '=', id)
      .where('state', '=', 'queued')
      .execute();
    await trx
      .updateTable('executions')
      .set({ cancel_requested: 1 })
      .where('id', '=', id)
      .where('state', '=', 'leased')
      .execute();
  }
}

/** Proof of a lease: the update that ends it happens only if it is still this one. */
export interface LeaseProof {
  id: string;
  token: number;
}

/**
 * Ends a leased execution and the jobs that wait for it.
 *
 * @returns false when the lease was lost meanwhile; nothing is changed then.
 */
export async function finishExecution(
  trx: Queryable,
  core: Core,
  lease: LeaseProof,
  end: { outcome: ExecutionOutcome; failure?: ExecutionFailure },
): Promise<boolean> {
  const now = Date.now();
  const failure = end.failure ? JSON.stringify(end.failure) : null;
  const { numUpdatedRows } = await trx
    .updateTable('executions')
    .set({ state: 'done', outcome: end.outcome, failure, deadline: null, finished_at: now })
    .where('id', '=', lease.id)
    .where('token', '=', lease.token)
    .where('state', '=', 'leased')
    .executeTakeFirstOrThrow();
  if (numUpdatedRows === 0n) return false;
  const state = end.outcome === 'passed' ? 'passed' : end.outcome === 'cancelled' ? 'cancelled' : 'failed';
  const jobs = await trx
    .updateTable('run_jobs')
    .set({ state, failure, finished_at: now })
    .where('execution_id', '=', lease.id)
    .where('state', 'in', ['queued', 'running'])
    .returning(['run_id', 'job', 'key'])
    .execute();
  for (const job of jobs) {
    const data = { run: job.run_id, job: job.job, key: job.key, execution: lease.id, state };
    await core.events.append('job.finished', { ...data, ...(end.failure ? { failure: end.failure } : {}) }, trx);
  }
  return true;
}

/**
 * Takes a lease away. A lost one counts; after the last attempt the execution fails as infrastructure. One that nobody
 * wants any more ends as cancelled.
 *
 * @param o.count whether the attempt counts: not when it was the server that went away.
 */
export async function requeue(
  trx: Queryable,
  core: Core,
  execution: ExecutionRow,
  o: { count: boolean; why: string },
): Promise<void> {
  const lease = { id: execution.id, token: execution.token };
  if (execution.cancel_requested) {
    await finishExecution(trx, core, lease, { outcome: 'cancelled', failure: { reason: 'cancelled', message: o.why } });
    return;
  }
  const lost = execution.lost + (o.count ? 1 : 0);
  if (lost >= core.settings.maxAttempts) {
    const message = `${o.why}; given up after ${lost} attempts`;
    await finishExecution(trx, core, lease, {
      outcome: 'infrastructure',
      failure: { reason: 'infrastructure', message },
    });
    return;
  }
  const { numUpdatedRows } = await trx
    .updateTable('executions')
    .set({ state: 'queued', lost, deadline: null, session: null })
    .where('id', '=', execution.id)
    .where('token', '=', execution.token)
    .where('state', '=', 'leased')
    .executeTakeFirstOrThrow();
  if (numUpdatedRows === 0n) return;
  const jobs = await trx
    .updateTable('run_jobs')
    .set({ state: 'queued', started_at: null })
    .where('execution_id', '=', execution.id)
    .where('state', '=', 'running')
    .returning(['run_id', 'job'])
    .execute();
  for (const job of jobs) {
    await core.events.append(
      'job.requeued',
      { run: job.run_id, job: job.job, execution: execution.id, why: o.why },
      trx,
    );
  }
}
