import {
  explainKeys,
  type Job,
  type JobId,
  type KeyDifference,
  type KeyDocument,
  PipelineError,
  type PlanStep,
} from '@treeline/pipeline';
import type { Queryable } from '../database/open.ts';
import { ServerError } from '../errors.ts';
import { wantExecution } from '../executions/queue.ts';
import { declaredLabels, type MadeOutput, noteDeclared, noteInputs } from '../labels/declared.ts';
import { decidePublication } from '../publish/decide.ts';
import { executionSpec, jobInputs } from './execution-spec.ts';
import { graphOf, loadManifest } from './manifest.ts';
import { type PlannedRun, type PlanningTools, planRun } from './plan-run.ts';
import { takeResults } from './results.ts';
import { supersedeOlder } from './supersede.ts';
import type { RunJobRow, RunRow, RunState } from './tables.ts';

/**
 * Does what a run needs next, and nothing twice: whatever happened before, the database says what is done. Called
 * whenever something may have changed.
 */
export async function advanceRun(tools: PlanningTools, run: RunRow): Promise<void> {
  const { core } = tools;
  const manifest = await loadManifest(core.db, run.id);
  let planned: PlannedRun;
  try {
    planned = await planRun(tools, { run, manifest, graph: graphOf(manifest) });
  } catch (error) {
    // What cannot be made of what comes with Treeline is no better in a second.
    const lacksBuiltIn = error instanceof ServerError && error.code === 'unavailable';
    if (!(error instanceof PipelineError) && !lacksBuiltIn) throw error;
    await core.db.transaction().execute((trx) => failRun(tools, trx, { run, error }));
    return;
  }
  const queued = await core.db.transaction().execute(async (trx) => {
    // Cancelled or superseded since it was read?
    const now = await trx.selectFrom('runs').select('state').where('id', '=', run.id).executeTakeFirst();
    if (now?.state !== 'running') return false;
    const lost = await takeResults(trx, newlyReused(planned));
    if (lost.length > 0) {
      // The plan was made of results that are known no more: it is made anew.
      tools.results.drop(lost);
      setTimeout(() => core.runs.notify(), 5).unref();
      return false;
    }
    if (planned.rows.size === 0) {
      await insertJobs(trx, planned);
      await supersedeOlder(trx, core, run);
    }
    let changed = false;
    for (const [id, step] of planned.plan.steps) {
      if (await applyStep(tools, trx, { planned, id, step })) changed = true;
    }
    await noteDeclared(trx, core, declaredLabels(planned.graph, manifest, madeOutputs(tools, planned)));
    await startPublishing(tools, trx, planned);
    if (planned.plan.done) await finishRun(tools, trx, { run, state: planned.plan.outcome ?? 'failed' });
    return changed;
  });
  if (queued) core.work.notify();
}

/** Keys of results that the run takes by this plan, and has not taken before. */
function newlyReused({ plan, rows }: PlannedRun): string[] {
  const keys = [...plan.steps].flatMap(([id, step]) => {
    const isNew = (rows.get(id)?.state ?? 'blocked') === 'blocked';
    return step.state === 'reused' && isNew ? [step.key] : [];
  });
  return [...new Set(keys)];
}

function rowKind({ kind }: Job): RunJobRow['kind'] {
  return kind === 'run' ? 'command' : kind;
}

async function insertJobs(trx: Queryable, { run, graph, rows }: PlannedRun): Promise<void> {
  const values = graph.order.map(
    (id, position): RunJobRow => ({
      run_id: run.id,
      job: id,
      kind: rowKind(graph.jobs.get(id)!.job),
      position,
      state: 'blocked',
      reused: 0,
      key: null,
      document: null,
      why: null,
      execution_id: null,
      blocked_on: null,
      failure: null,
      started_at: null,
      finished_at: null,
    }),
  );
  for (const row of values) {
    await trx.insertInto('run_jobs').values(row).execute();
    rows.set(row.job as JobId, row);
  }
}

/** Makes the database say what the plan says of a job. Returns whether an execution was queued or joined. */
async function applyStep(
  tools: PlanningTools,
  trx: Queryable,
  { planned, id, step }: { planned: PlannedRun; id: JobId; step: PlanStep },
): Promise<boolean> {
  const row = planned.rows.get(id)!;
  const set = async (values: Partial<RunJobRow>): Promise<void> => {
    const same = Object.entries(values).every(([name, value]) => row[name as keyof RunJobRow] === value);
    if (same) return;
    await trx.updateTable('run_jobs').set(values).where('run_id', '=', row.run_id).where('job', '=', id).execute();
  };
  const tell = (type: string, data: Record<string, unknown>) =>
    tools.core.events.append(type, { run: row.run_id, job: id, ...data }, trx);
  // Jobs with progress are changed by what makes the progress: here only what has none yet.
  if (row.state !== 'blocked') return false;
  switch (step.state) {
    case 'blocked':
      await set({ blocked_on: JSON.stringify(step.on) });
      return false;
    case 'ready': {
      // It may have been made since the plan was drawn up; the next one will reuse it.
      const made = await trx.selectFrom('results').select('key').where('key', '=', step.key).executeTakeFirst();
      if (made) {
        setTimeout(() => tools.core.runs.notify(), 5).unref();
        return false;
      }
      const execution = await wantExecution(trx, executionSpec(planned, tools.results, { id, ...step }));
      await noteInputsOf(tools, trx, { planned, id, key: step.key });
      const why = await whyNotReused(trx, row, step);
      await set({
        state: execution.state === 'leased' ? 'running' : 'queued',
        key: step.key,
        document: JSON.stringify(step.document),
        why: JSON.stringify(why),
        execution_id: execution.id,
        blocked_on: null,
        started_at: execution.state === 'leased' ? execution.started_at : null,
      });
      await tell('job.queued', {
        key: step.key,
        execution: execution.id,
        why: why.map((difference) => difference.message),
      });
      return true;
    }
    case 'reused': {
      await noteInputsOf(tools, trx, { planned, id, key: step.key });
      const document = step.document ? JSON.stringify(step.document) : null;
      const now = Date.now();
      const state = { state: 'passed', reused: 1, key: step.key, document, blocked_on: null } as const;
      await set({ ...state, started_at: now, finished_at: now });
      await tell('job.reused', { key: step.key });
      return false;
    }
    case 'skipped':
      await set({ state: 'skipped', blocked_on: JSON.stringify([step.because]), finished_at: Date.now() });
      await tell('job.skipped', { because: step.because });
      return false;
    default:
      return false;
  }
}

/** What goes in now may be other commits of the same trees than what the result says, or what another run waits for. */
async function noteInputsOf(
  tools: PlanningTools,
  trx: Queryable,
  { planned, id, key }: { planned: PlannedRun; id: JobId; key: string },
): Promise<void> {
  const { inputs, source } = jobInputs(planned, tools.results, id);
  await noteInputs(trx, key, [...inputs, ...(source ? [{ name: 'source', commit: source.commit }] : [])]);
}

/** Outputs of the run's jobs that have passed. */
function madeOutputs({ results }: PlanningTools, { graph, plan }: PlannedRun): MadeOutput[] {
  return [...plan.steps].flatMap(([id, step]) => {
    if ((step.state !== 'passed' && step.state !== 'reused') || !step.key) return [];
    const { project } = graph.jobs.get(id)!.job;
    const outputs = Object.entries(results.get(step.key)?.outputs ?? {});
    return outputs.map(([artifact, output]) => ({ project, artifact, ...output }));
  });
}

/** How the key differs from that of the job's last run; empty when it never had one. */
async function whyNotReused(
  trx: Queryable,
  row: RunJobRow,
  step: { key: string; document: KeyDocument },
): Promise<KeyDifference[]> {
  const last = await trx
    .selectFrom('run_jobs')
    .innerJoin('runs', 'runs.id', 'run_jobs.run_id')
    .select(['run_jobs.key', 'run_jobs.document', 'run_jobs.state'])
    .where('run_jobs.job', '=', row.job)
    .where('run_jobs.run_id', '!=', row.run_id)
    .where('run_jobs.document', 'is not', null)
    .orderBy('runs.number', 'desc')
    .limit(1)
    .executeTakeFirst();
  if (!last?.document) return [];
  if (last.key !== step.key) return explainKeys(JSON.parse(last.document) as KeyDocument, step.document);
  const words: Record<string, string> = {
    failed: 'the same job failed last time; failures are not reused',
    cancelled: 'the same job was cancelled last time',
  };
  const message = words[last.state] ?? 'shared with an earlier run: one execution for both';
  return [{ field: 'result', before: last.state, after: null, message }];
}

async function startPublishing(tools: PlanningTools, trx: Queryable, planned: PlannedRun): Promise<void> {
  for (const publish of planned.plan.publishes) {
    if (publish.state !== 'ready') continue;
    const { repository, channel, artifact, maker } = publish.step;
    const begun = planned.releases.some((r) => r.repository === repository && r.channel === channel);
    if (begun) continue;
    const step = planned.plan.steps.get(maker);
    const output =
      step && 'key' in step && step.key ? tools.results.get(step.key)?.outputs[artifact.artifact] : undefined;
    if (!output) continue;
    const { commit, tree } = output;
    await decidePublication(trx, tools.core, {
      repository,
      items: [{ channel, commit, tree, artifact: `${artifact.project}/${artifact.artifact}` }],
      run: planned.run,
      reason: planned.run.reason,
    });
  }
}

async function finishRun(
  tools: PlanningTools,
  trx: Queryable,
  { run, state }: { run: RunRow; state: RunState },
): Promise<void> {
  await trx
    .updateTable('runs')
    .set({ state, finished_at: Date.now() })
    .where('id', '=', run.id)
    .where('state', '=', 'running')
    .execute();
  await tools.core.events.append('run.finished', { run: run.id, number: run.number, state }, trx);
}

async function failRun(
  tools: PlanningTools,
  trx: Queryable,
  { run, error }: { run: RunRow; error: PipelineError | ServerError },
): Promise<void> {
  const { code, message, hint } = error;
  const diagnostics = error instanceof PipelineError ? error.diagnostics : [];
  const text = JSON.stringify({ code, message, ...(hint ? { hint } : {}), diagnostics });
  const { numUpdatedRows } = await trx
    .updateTable('runs')
    .set({ state: 'failed', error: text, finished_at: Date.now() })
    .where('id', '=', run.id)
    .where('state', '=', 'running')
    .executeTakeFirstOrThrow();
  if (numUpdatedRows === 0n) return;
  const data = { run: run.id, number: run.number, state: 'failed', error: JSON.parse(text) as unknown };
  await tools.core.events.append('run.finished', data, trx);
}
