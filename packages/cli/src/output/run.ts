import type { Job, Run, RunDetail, RunPublish } from '@treeline/server';
import type { Style } from './colour.ts';
import { paint } from './colour.ts';
import { formatDuration } from './duration.ts';
import { type Cell, formatTable } from './table.ts';
import { oneLine } from './text.ts';
import { count, shortId } from './words.ts';

const stateStyles: Record<string, Style> = {
  passed: 'green',
  published: 'green',
  reused: 'cyan',
  running: 'blue',
  publishing: 'blue',
  failed: 'red',
  impossible: 'red',
  skipped: 'yellow',
  cancelled: 'yellow',
  superseded: 'yellow',
};

/** The style in which a state of a run, a job or a publication is shown everywhere. */
export function stateStyle(state: string): Style {
  return stateStyles[state] ?? 'dim';
}

/** A job's state as shown: `reused` is a way to have passed that people want to see. */
export function jobState(job: Job): string {
  return job.reused && job.state === 'passed' ? 'reused' : job.state;
}

/** Why a job is in its state, in one line: what it waits for, why it failed, or why it was not reused. */
export function jobReason(job: Job): string {
  const reason = reasonOf(job);
  const emulated = job.emulated.length > 0 ? `${job.emulated.join(', ')} only emulated` : '';
  return oneLine([reason, emulated].filter(Boolean).join('; '));
}

function reasonOf(job: Job): string {
  switch (job.state) {
    case 'failed':
      return job.failure?.message ?? 'failed';
    case 'blocked':
      return `waits for ${job.blockedOn.join(', ')}`;
    case 'skipped':
      return job.blockedOn.length > 0 ? `because of ${job.blockedOn.join(', ')}` : '';
    case 'queued':
      return job.waits ?? 'waits for a runner';
    case 'cancelled':
      return '';
    case 'running':
    case 'passed':
      if (job.reused) return '';
      return job.why.length > 0 ? job.why.map((difference) => difference.message).join('; ') : 'new';
  }
}

/** How long a job took, or has taken so far; empty when it has not started or took no time at all. */
export function jobTime(job: Job, now: number): string {
  if (job.reused) return '';
  if (job.durationMs !== null) return formatDuration(job.durationMs);
  if (job.state === 'running' && job.startedAt) return formatDuration(now - Date.parse(job.startedAt));
  return '';
}

/** The first line about a run: number, state, what started it, how long it took. */
function runTitle(run: Run, now: number): string {
  const time = run.durationMs ?? now - Date.parse(run.createdAt);
  const state = paint(['bold', stateStyle(run.state)], run.state);
  return `Run ${run.number} ${state}  ${oneLine(run.reason)}  ${paint('dim', formatDuration(time))}`;
}

/** Jobs of a run by outcome, in words: `2 ran, 5 reused, 1 failed`. */
export function runCounts(run: Run): string {
  const { total, reused, states } = run.counts;
  const ran = (states.passed ?? 0) - reused;
  const others = (['failed', 'running', 'queued', 'blocked', 'skipped', 'cancelled'] as const)
    .filter((state) => states[state])
    .map((state) => `${states[state]} ${state}`);
  if (total === 0) return 'no jobs';
  return [ran > 0 ? `${ran} ran` : '', reused > 0 ? `${reused} reused` : '', ...others].filter(Boolean).join(', ');
}

/** A run as a person reads it: title, sources, jobs, publications, and what went wrong. */
export function formatRun(run: RunDetail, now: number): string {
  const parts = [runTitle(run, now)];
  const problem = formatRunProblem(run);
  if (problem) parts.push(problem);
  if (run.jobs.length > 0) parts.push(jobTable(run.jobs, now));
  if (run.publishes.length > 0) parts.push(run.publishes.map(publishLine).join('\n'));
  if (run.jobs.length > 0) parts.push(`${count(run.counts.total, 'job')}: ${runCounts(run)}`);
  const failed = run.jobs.find((job) => job.state === 'failed' && job.log);
  if (failed) parts.push(paint('dim', `treeline logs ${failed.id} --run ${run.number}`));
  return parts.join('\n\n');
}

/** Why a run could not be planned; empty when it could. */
export function formatRunProblem(run: Run): string {
  if (!run.error) return '';
  const { message, hint, diagnostics } = run.error;
  const lines = diagnostics.map(({ project, file, line, column, message: text, hint: advice }) => {
    const place = paint('bold', `${oneLine(project)}/${oneLine(file)}:${line}:${column}:`);
    return `${place} ${oneLine(text)}${advice ? `\n  ${oneLine(advice)}` : ''}`;
  });
  const shown = lines.length > 0 ? lines : [oneLine(message)];
  if (hint && lines.length === 0) shown.push(`  ${oneLine(hint)}`);
  return shown.join('\n');
}

function jobTable(jobs: Job[], now: number): string {
  const rows = jobs.map((job): Cell[] => {
    const state = jobState(job);
    const reason = { text: jobReason(job), below: job.state === 'failed' };
    return [job.id, { text: state, style: stateStyle(state) }, reason, jobTime(job, now)];
  });
  const columns = [
    { header: 'job', shrink: true },
    { header: 'state' },
    { header: 'why', shrink: true },
    { header: 'time', align: 'right' as const },
  ];
  return formatTable(columns, rows);
}

/** One line about a publication of a run. */
export function publishLine(publish: RunPublish): string {
  const where = `${publish.repository}:${publish.channel}`;
  const what = publish.commit ? ` ${shortId(publish.commit)}` : '';
  const why = publish.message ? `  ${oneLine(publish.message)}` : '';
  return `${publish.project}/${publish.artifact} → ${where}  ${paint(stateStyle(publish.state), publish.state)}${what}${why}`;
}
