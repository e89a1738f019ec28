import type { JobResult, JobSpec, Lease, RunnerOffer } from '@treeline/runner';
import type { Core } from '../core.ts';
import { ServerError } from '../errors.ts';
import type { LabLeases } from '../lab/lab.ts';
import type { LogFiles } from './log-files.ts';
import { boardOf, unmetBy } from './matching.ts';
import { commitOutputs } from './outputs.ts';
import { type ExecutionFailure, finishExecution, requeue } from './queue.ts';
import { type BoardTrial, type ExecutionSpec, specOf } from './spec.ts';
import type { ExecutionRow } from './tables.ts';

/** The server's side of the runner protocol, and of its own composing. */
export interface Leases {
  /** Waits for an execution that the runner can take; null when there is none in time. */
  lease(
    offer: RunnerOffer,
    o: { session: string | null; waitSeconds: number; signal?: AbortSignal },
  ): Promise<Lease | null>;
  /** Keeps a lease, takes a piece of log. @throws ServerError `stale-token`, `not-found` */
  heartbeat(
    id: string,
    beat: { token: number; log?: string | undefined; logOffset: number },
  ): Promise<{ cancel: boolean }>;
  /** The execution of a board job's lease. @throws ServerError stale-token, not-found, conflict when it is none */
  boardLease(id: string, token: number): Promise<ExecutionRow>;
  /** Ends a lease. The same completion twice is fine. @throws ServerError stale-token, not-found, outputs-incomplete */
  complete(id: string, token: number, result: JobResult): Promise<void>;
  /** Takes the next execution of the server's own kind of work. */
  claimCompose(): Promise<ExecutionRow | null>;
  /** Takes leases away whose deadline is over. */
  expire(): Promise<void>;
  /** Takes the leases of a dead process away. `count`: whether the attempts count as lost. */
  endSession(session: string, o: { count: boolean; why: string }): Promise<void>;
  /** At the start: leases of processes that died with the server begin anew; others get time to call again. */
  recover(): Promise<void>;
}

export function createLeases(core: Core, logs: LogFiles, lab: LabLeases): Leases {
  const { db, settings, events } = core;
  const deadline = () => Date.now() + settings.leaseSeconds * 1000;
  /** Being completed: looking through large outputs may take longer than a lease. */
  const completing = new Set<string>();

  const take = async (
    execution: ExecutionRow,
    o: { runner: string; session: string | null; emulated: string[] },
  ): Promise<ExecutionRow | null> => {
    const now = Date.now();
    const row = await db.transaction().execute(async (trx) => {
      const taken = await trx
        .updateTable('executions')
        .set((eb) => ({
          state: 'leased',
          token: eb('token', '+', 1),
          deadline: deadline(),
          runner: o.runner,
          session: o.session,
          emulated: JSON.stringify(o.emulated),
          started_at: now,
        }))
        .where('id', '=', execution.id)
        .where('state', '=', 'queued')
        .returningAll()
        .executeTakeFirst();
      if (!taken) return null;
      const jobs = await trx
        .updateTable('run_jobs')
        .set({ state: 'running', started_at: now })
        .where('execution_id', '=', execution.id)
        .where('state', '=', 'queued')
        .returning(['run_id', 'job'])
        .execute();
      for (const job of jobs) {
        const data = { run: job.run_id, job: job.job, execution: execution.id, runner: o.runner };
        await events.append('job.started', data, trx);
      }
      return taken;
    });
    if (row) await logs.begin(row.id, row.token);
    return row;
  };

  const queued = (...kinds: ExecutionRow['kind'][]) =>
    db
      .selectFrom('executions')
      .selectAll()
      .where('state', '=', 'queued')
      .where('kind', 'in', kinds)
      .orderBy('created_at')
      .orderBy('id')
      .execute();

  const tryLease = async (offer: RunnerOffer, session: string | null): Promise<Lease | null> => {
    for (const execution of await queued('command', 'board')) {
      const spec = specOf(execution);
      if (spec.work.kind === 'compose' || unmetBy(spec, offer).length > 0) continue;
      if (spec.work.kind === 'board' && (await hasBoardInUse(core, offer, spec.work.trial))) continue;
      const emulated = spec.work.kind === 'command' ? [...spec.work.platform.emulated] : [];
      const taken = await take(execution, { runner: offer.name, session, emulated });
      if (!taken) continue;
      return {
        executionId: taken.id,
        attempt: taken.lost + 1,
        token: taken.token,
        heartbeatSeconds: settings.heartbeatSeconds,
        job: {
          ...spec.work.job,
          emulated,
          ...(spec.work.kind === 'command'
            ? { gpu: spec.work.platform.gpu }
            : { board: await lab.open(taken, spec.work.trial, { seconds: spec.work.job.timeoutSeconds }) }),
        } satisfies JobSpec,
      };
    }
    return null;
  };

  const held = async (id: string, token: number): Promise<ExecutionRow> => {
    const row = await db.selectFrom('executions').selectAll().where('id', '=', id).executeTakeFirst();
    if (!row) throw new ServerError('not-found', `there is no execution ${id}`);
    if (row.token !== token || row.state === 'queued') throw staleToken(row, token);
    return row;
  };

  const settle = async (row: ExecutionRow, work: () => Promise<boolean>): Promise<void> => {
    if (!(await work())) throw staleToken(row, row.token);
    logs.end(row.id);
    await lab.close(row.id);
    core.work.notify();
    core.runs.notify();
  };

  const lost = async (rows: ExecutionRow[], o: { count: boolean; why: string }): Promise<void> => {
    for (const row of rows) {
      await db.transaction().execute((trx) => requeue(trx, core, row, o));
      await lab.close(row.id);
      core.log.warn({ execution: row.id, runner: row.runner, why: o.why }, 'a lease was lost');
    }
    if (rows.length === 0) return;
    core.work.notify();
    core.runs.notify();
  };

  return {
    async lease(offer, o) {
      await noteRunner(core, offer, o.session !== null);
      const until = Date.now() + o.waitSeconds * 1000;
      const signal = o.signal ? AbortSignal.any([o.signal, core.signal]) : core.signal;
      while (!signal.aborted) {
        const seen = core.work.version;
        const lease = await tryLease(offer, o.session);
        if (lease && !signal.aborted) return lease;
        if (lease) {
          // The runner hung up while it was being leased.
          const row = await held(lease.executionId, lease.token);
          await lost([row], { count: false, why: 'the runner was gone before it got the lease' });
          return null;
        }
        const left = until - Date.now();
        if (left <= 0) break;
        await core.work.past(seen, Math.min(left, 5000), signal);
      }
      return null;
    },

    async heartbeat(id, beat) {
      const row = await held(id, beat.token);
      if (row.state === 'done') throw staleToken(row, beat.token);
      if (beat.log !== undefined && beat.log !== '') await logs.write(id, beat.logOffset, beat.log);
      const { numUpdatedRows } = await db
        .updateTable('executions')
        .set({ deadline: deadline() })
        .where('id', '=', id)
        .where('token', '=', beat.token)
        .where('state', '=', 'leased')
        .executeTakeFirstOrThrow();
      if (numUpdatedRows === 0n) throw staleToken(row, beat.token);
      if (row.runner) {
        await db.updateTable('runners').set({ last_seen: Date.now() }).where('name', '=', row.runner).execute();
      }
      return { cancel: row.cancel_requested === 1 };
    },

    async boardLease(id, token) {
      const row = await held(id, token);
      if (row.state === 'done') throw staleToken(row, token);
      if (row.kind !== 'board') throw new ServerError('conflict', `execution ${id} is no board job`);
      return row;
    },

    async complete(id, token, result) {
      const row = await held(id, token);
      if (row.state === 'done') {
        // The answer to the first completion was lost.
        if (row.outcome === outcomeOf(result)) return;
        throw staleToken(row, token);
      }
      const lease = { id, token };
      if (result.status === 'passed') {
        completing.add(id);
        try {
          await passed(core, row, result.outputs, settle);
        } finally {
          completing.delete(id);
        }
      } else if (result.status === 'infrastructure') {
        // A runner that is told to end with its server reports its jobs so: not their fault, nor a lost attempt.
        await lost([row], { count: !core.signal.aborted, why: `${row.runner}: ${result.message}` });
      } else if (result.reason === 'killed' && row.cancel_requested === 0 && (await wasCancelled(core, row))) {
        await lost([row], { count: false, why: 'it was cancelled and is wanted again' });
      } else {
        const { reason, message, exitCode } = result;
        const failure: ExecutionFailure = { reason, message, ...(exitCode === undefined ? {} : { exitCode }) };
        const outcome = row.cancel_requested ? 'cancelled' : 'failed';
        await settle(row, () =>
          db.transaction().execute((trx) => finishExecution(trx, core, lease, { outcome, failure })),
        );
      }
    },

    async claimCompose() {
      for (const execution of await queued('compose')) {
        const taken = await take(execution, { runner: 'server', session: core.session, emulated: [] });
        if (taken) return taken;
      }
      return null;
    },

    async expire() {
      const rows = await db
        .selectFrom('executions')
        .selectAll()
        .where('state', '=', 'leased')
        .where('deadline', '<', Date.now())
        .where((eb) => eb.or([eb('session', 'is', null), eb('session', '!=', core.session)]))
        .execute();
      const why = (row: ExecutionRow) => `the runner ${row.runner} sent no heartbeat for ${settings.leaseSeconds} s`;
      for (const row of rows) if (!completing.has(row.id)) await lost([row], { count: true, why: why(row) });
    },

    async endSession(session, o) {
      const rows = await db
        .selectFrom('executions')
        .selectAll()
        .where('state', '=', 'leased')
        .where('session', '=', session)
        .execute();
      await lost(rows, o);
    },

    async recover() {
      const rows = await db
        .selectFrom('executions')
        .selectAll()
        .where('state', '=', 'leased')
        .where('session', 'is not', null)
        .execute();
      await lost(rows, { count: false, why: 'the server was restarted' });
      await db.updateTable('executions').set({ deadline: deadline() }).where('state', '=', 'leased').execute();
    },
  };
}

/** A board is one thing: a runner that has a job on it gets no second one. */
async function hasBoardInUse(core: Core, offer: RunnerOffer, trial: BoardTrial): Promise<boolean> {
  const rows = await core.db
    .selectFrom('executions')
    .select('spec')
    .where('state', '=', 'leased')
    .where('kind', '=', 'board')
    .where('runner', '=', offer.name)
    .execute();
  return rows.some((row) => {
    const { work } = specOf(row);
    return work.kind === 'board' && boardOf(work.trial) === boardOf(trial);
  });
}

async function passed(
  core: Core,
  row: ExecutionRow,
  trees: Parameters<typeof commitOutputs>[2],
  settle: (row: ExecutionRow, work: () => Promise<boolean>) => Promise<void>,
): Promise<void> {
  const spec: ExecutionSpec = specOf(row);
  // Objects and refs first, the row that makes them a result last: a crash between leaves refs that nobody reads.
  const outputs = await commitOutputs(core, spec, trees);
  await settle(row, () =>
    core.db.transaction().execute(async (trx) => {
      const lease = { id: row.id, token: row.token };
      if (!(await finishExecution(trx, core, lease, { outcome: 'passed' }))) return false;
      await trx
        .insertInto('results')
        .values({
          key: row.key,
          execution_id: row.id,
          outputs: JSON.stringify(outputs),
          sources: JSON.stringify(spec.sources),
          created_at: Date.now(),
          used_at: Date.now(),
        })
        .onConflict((c) => c.doNothing())
        .execute();
      return true;
    }),
  );
}

/** Whether the runner may have been told to cancel before somebody wanted the key again. */
async function wasCancelled(core: Core, row: ExecutionRow): Promise<boolean> {
  const cancelled = await core.db
    .selectFrom('run_jobs')
    .select('run_id')
    .where('execution_id', '=', row.id)
    .where('state', '=', 'cancelled')
    .executeTakeFirst();
  return cancelled !== undefined;
}

async function noteRunner(core: Core, offer: RunnerOffer, embedded: boolean): Promise<void> {
  const values = { offer: JSON.stringify(offer), embedded: embedded ? 1 : 0, last_seen: Date.now() };
  const known = await core.db.selectFrom('runners').selectAll().where('name', '=', offer.name).executeTakeFirst();
  await core.db
    .insertInto('runners')
    .values({ name: offer.name, ...values })
    .onConflict((c) => c.column('name').doUpdateSet(values))
    .execute();
  // What is emulated, and so in keys, follows from what runners there are.
  if (known?.offer !== values.offer) core.runs.notify();
}

function outcomeOf(result: JobResult): string {
  return result.status;
}

function staleToken(row: ExecutionRow, token: number): ServerError {
  const words = row.state === 'done' ? `has ended (${row.outcome})` : `has been leased again`;
  return new ServerError('stale-token', `execution ${row.id} ${words}: token ${token} is stale`, {
    hint: 'Stop the job: its result is not wanted from you any more.',
  });
}
