import { type KeyDifference, PipelineError, type PublishStep } from '@treeline/pipeline';
import type { RunnerOffer } from '@treeline/runner';
import type { Failure, Job, JobState, Run, RunDetail, RunPublish } from '../api/schema.ts';
import type { Queryable } from '../database/open.ts';
import { ServerError } from '../errors.ts';
import { whyItWaits } from '../executions/matching.ts';
import { outputsOf, type StoredOutputs, specOf } from '../executions/spec.ts';
import type { ExecutionRow } from '../executions/tables.ts';
import type { ReleaseState } from '../publish/tables.ts';
import { graphOf, loadManifest, sourceOf } from '../runs/manifest.ts';
import type { RunJobRow, RunRow } from '../runs/tables.ts';
import type { RevisionRow } from '../sources/tables.ts';
import { runnerStates } from './runners.ts';
import { span, time } from './time.ts';

export interface RunFilter {
  limit: number;
  /** Only runs that this project's pushes started. */
  project?: string | undefined;
}

/** Runs, newest first. */
export async function listRuns(db: Queryable, filter: RunFilter): Promise<Run[]> {
  let query = db.selectFrom('runs').selectAll().orderBy('number', 'desc').limit(filter.limit);
  if (filter.project !== undefined) query = query.where('trigger_project', '=', filter.project);
  const rows = await query.execute();
  const counts = await countJobs(
    db,
    rows.map((row) => row.id),
  );
  return rows.map((row) => runView(row, counts.get(row.id)));
}

/** One run with its jobs and publishes. @param id `run-12`, `12` or `latest`. @throws ServerError `not-found` */
export async function readRun(db: Queryable, id: string): Promise<RunDetail> {
  const run = await findRun(db, id);
  const manifest = await loadManifest(db, run.id);
  const rows = await db.selectFrom('run_jobs').selectAll().where('run_id', '=', run.id).orderBy('position').execute();
  const jobs = await jobViews(db, rows);
  const counts = await countJobs(db, [run.id]);
  return {
    ...runView(run, counts.get(run.id)),
    manifest: manifest.map(sourceOf),
    jobs,
    publishes: await publishViews(db, { run, manifest, jobs }),
  };
}

export async function findRun(db: Queryable, id: string): Promise<RunRow> {
  const query = db.selectFrom('runs').selectAll();
  const row =
    id === 'latest'
      ? await query.orderBy('number', 'desc').limit(1).executeTakeFirst()
      : await query.where('id', '=', /^\d+$/.test(id) ? `run-${id}` : id).executeTakeFirst();
  if (row) return row;
  throw new ServerError('not-found', id === 'latest' ? 'there are no runs yet' : `there is no run "${id}"`);
}

type Counts = Run['counts'];

async function countJobs(db: Queryable, runs: string[]): Promise<Map<string, Counts>> {
  const counts = new Map<string, Counts>();
  if (runs.length === 0) return counts;
  const rows = await db
    .selectFrom('run_jobs')
    .select(['run_id', 'state', 'reused', (eb) => eb.fn.countAll<number>().as('count')])
    .where('run_id', 'in', runs)
    .groupBy(['run_id', 'state', 'reused'])
    .execute();
  for (const row of rows) {
    const count = counts.get(row.run_id) ?? { total: 0, reused: 0, states: {} };
    const number = Number(row.count);
    count.total += number;
    if (row.reused) count.reused += number;
    count.states[row.state] = (count.states[row.state] ?? 0) + number;
    counts.set(row.run_id, count);
  }
  return counts;
}

export function runView(row: RunRow, counts: Counts = { total: 0, reused: 0, states: {} }): Run {
  return {
    id: row.id,
    number: row.number,
    state: row.state,
    reason: row.reason,
    trigger:
      row.trigger_project === null
        ? null
        : { project: row.trigger_project, branch: row.trigger_branch ?? '', revision: row.trigger_revision ?? '' },
    error: row.error === null ? null : (JSON.parse(row.error) as Run['error']),
    counts,
    createdAt: time(row.created_at),
    finishedAt: time(row.finished_at),
    durationMs: span(row.created_at, row.finished_at),
  };
}

async function jobViews(db: Queryable, rows: RunJobRow[]): Promise<Job[]> {
  const keys = rows.filter((row) => row.state === 'passed' && row.key).map((row) => row.key!);
  const results = new Map<string, { outputs: StoredOutputs; execution: string }>();
  if (keys.length > 0) {
    const found = await db.selectFrom('results').selectAll().where('key', 'in', keys).execute();
    for (const row of found) results.set(row.key, { outputs: outputsOf(row), execution: row.execution_id });
  }
  // A reused job shows the execution that made its result: its log says how.
  const executionOf = (row: RunJobRow) => row.execution_id ?? (row.key ? results.get(row.key)?.execution : undefined);
  const ids = rows.map(executionOf).filter((id) => id !== undefined);
  const executions = new Map<string, ExecutionRow>();
  if (ids.length > 0) {
    const found = await db.selectFrom('executions').selectAll().where('id', 'in', ids).execute();
    for (const row of found) executions.set(row.id, row);
  }
  const runners = rows.some((row) => row.state === 'queued') ? await runnerStates(db) : [];
  return rows.map((row) => {
    const execution = executions.get(executionOf(row) ?? '');
    const outputs = row.state === 'passed' && row.key ? results.get(row.key)?.outputs : undefined;
    return jobView(row, { execution, outputs, runners });
  });
}

function jobView(
  row: RunJobRow,
  o: {
    execution: ExecutionRow | undefined;
    outputs: StoredOutputs | undefined;
    runners: readonly { offer: RunnerOffer; online: boolean; busy: boolean }[];
  },
): Job {
  const [project = '', name = ''] = row.job.split('/');
  const { execution } = o;
  const queued = row.state === 'queued' && execution;
  return {
    id: row.job,
    project,
    name,
    kind: row.kind,
    state: row.state satisfies JobState,
    reused: row.reused === 1,
    key: row.key,
    why: row.why ? (JSON.parse(row.why) as KeyDifference[]) : [],
    blockedOn: row.blocked_on ? (JSON.parse(row.blocked_on) as string[]) : [],
    waits: queued ? whyItWaits(specOf(execution), o.runners) : null,
    executionId: execution?.id ?? null,
    runner: execution?.runner ?? null,
    emulated: execution?.emulated ? (JSON.parse(execution.emulated) as string[]) : [],
    failure: row.failure ? (JSON.parse(row.failure) as Failure) : null,
    outputs: Object.entries(o.outputs ?? {}).map(([artifact, output]) => ({ artifact, ...output })),
    log: execution && row.kind === 'command' ? `/api/v1/executions/${execution.id}/log` : null,
    startedAt: time(row.started_at),
    finishedAt: time(row.finished_at),
    durationMs: span(row.started_at, row.finished_at),
  };
}

/** Nothing for a manifest that cannot be planned: its run says why, or will in a moment. */
function publishSteps(manifest: readonly RevisionRow[]): readonly PublishStep[] {
  try {
    return graphOf(manifest).publishes;
  } catch (error) {
    if (error instanceof PipelineError) return [];
    throw error;
  }
}

/** What became of a run's release; that its repository was removed later does not change what the run did. */
const PUBLISH_STATES = {
  publishing: 'publishing',
  published: 'published',
  withdrawn: 'published',
  abandoned: 'superseded',
  failed: 'failed',
} as const satisfies Record<ReleaseState, RunPublish['state']>;

async function publishViews(
  db: Queryable,
  o: { run: RunRow; manifest: readonly RevisionRow[]; jobs: readonly Job[] },
): Promise<RunPublish[]> {
  if (o.run.error !== null) return [];
  const releases = await db.selectFrom('releases').selectAll().where('run_id', '=', o.run.id).execute();
  const states = new Map(o.jobs.map((job) => [job.id, job.state]));
  return publishSteps(o.manifest).map((step) => {
    const { repository, channel } = step;
    const head = { project: step.project, artifact: step.artifact.artifact, repository, channel };
    const release = releases.find((r) => r.repository === repository && r.channel === channel);
    if (release) {
      const { id, commit, message } = release;
      const state = PUBLISH_STATES[release.state];
      return { ...head, state, commit, releaseId: id, message };
    }
    const none = { commit: null, releaseId: null };
    const failed = step.after.find((id) => ['failed', 'skipped', 'cancelled'].includes(states.get(id) ?? ''));
    if (failed) return { ...head, ...none, state: 'impossible', message: `${failed} did not pass` };
    if (o.run.state !== 'running') return { ...head, ...none, state: 'impossible', message: `the run ${o.run.state}` };
    const open = step.after.filter((id) => states.get(id) !== 'passed');
    return { ...head, ...none, state: 'waiting', message: open.length > 0 ? `waits for ${open.join(', ')}` : null };
  });
}
