import { setTimeout as sleep } from 'node:timers/promises';
import type { Job, RunDetail } from '@treeline/server';
import { type Client, decodeText } from './connection/client.ts';
import { CliError } from './errors.ts';
import { paint } from './output/colour.ts';
import { formatDuration } from './output/duration.ts';
import { type LiveLines, liveLines } from './output/progress.ts';
import { formatRunProblem, jobReason, jobState, jobTime, publishLine, runCounts, stateStyle } from './output/run.ts';
import { terminalWidth } from './output/table.ts';
import { cellWidth, manyLines, oneLine, shorten } from './output/text.ts';
import { count } from './output/words.ts';
import { fetchRun, isOver } from './runs.ts';

/** The server is asked this often; between the answers only clocks and the spinner move. */
const askEvery = 500;
const drawEvery = 100;
/** A server that restarts is waited for this long. */
const patience = 60_000;
const tailLines = 15;

export type WatchOptions = { signal: AbortSignal; onChange?: (run: RunDetail) => void; quiet?: boolean };

/**
 * Follows a run until it is over and resolves to its last state. Shows a line for each job that ends and, at a
 * terminal, the running ones below with their times; of a failed job the end of its log. `quiet` shows nothing.
 */
export async function watchRun(client: Client, id: string, options: WatchOptions): Promise<RunDetail> {
  const { signal, onChange, quiet = false } = options;
  const screen = liveLines();
  const told = new Map<string, string>();
  let lastAnswer = Date.now();
  let run: RunDetail | undefined;
  try {
    for (;;) {
      try {
        run = await fetchRun(client, id);
        lastAnswer = Date.now();
      } catch (error) {
        // A server that is being restarted goes on with the run, so this goes on waiting for it.
        const isAway = error instanceof CliError && error.code === 'unreachable' && run !== undefined;
        if (!isAway || Date.now() - lastAnswer > patience) throw error;
        if (!quiet) screen.show([paint('yellow', `${screen.tick()} the server does not answer; waiting for it`)]);
        await sleep(askEvery, undefined, { signal });
        continue;
      }
      onChange?.(run);
      if (!quiet) await tellJobs(run, told, { screen, client });
      if (isOver(run)) break;
      await draw(run, { screen, signal, quiet });
    }
  } finally {
    screen.close();
  }
  if (!quiet) tellEnd(run);
  return run;
}

/** Prints each job whose state is news, once. */
async function tellJobs(
  run: RunDetail,
  told: Map<string, string>,
  o: { screen: LiveLines; client: Client },
): Promise<void> {
  const width = Math.max(...run.jobs.map((job) => job.id.length), 0);
  for (const job of run.jobs) {
    const state = jobState(job);
    const isEnd = !['blocked', 'queued', 'running'].includes(state);
    // Without live lines (piped) the beginnings are told too: something must show that work goes on.
    const isNews = told.get(job.id) !== state && (isEnd || (!o.screen.live && state === 'running'));
    if (!isNews) continue;
    told.set(job.id, state);
    o.screen.print(jobLine(job, width));
    if (state === 'failed') await tellLogTail(job, o);
  }
}

function jobLine(job: Job, width: number): string {
  const state = jobState(job);
  const time = jobTime(job, Date.now());
  const mark = paint(stateStyle(state), state.padEnd(9));
  const reason = jobReason(job);
  const start = `  ${mark} ${oneLine(job.id).padEnd(width)}  ${paint('dim', time.padStart(9))}`;
  // Why it failed must be read; why it ran may be cut.
  const shown = state === 'failed' ? reason : shorten(reason, Math.max(10, terminalWidth() - cellWidth(start) - 3));
  return `${start}  ${state === 'passed' ? paint('dim', shown) : shown}`.trimEnd();
}

async function tellLogTail(job: Job, o: { screen: LiveLines; client: Client }): Promise<void> {
  if (!job.executionId || !job.log) return;
  let tail = '';
  try {
    for await (const text of decodeText(o.client.stream(`executions/${encodeURIComponent(job.executionId)}/log`))) {
      tail = (tail + text).slice(-64 * 1024);
    }
  } catch (error) {
    // The log is a comfort here: that it cannot be had must not hide that the job failed.
    if (!(error instanceof CliError) || error.code === 'interrupted') throw error;
  }
  const lines = manyLines(tail).trimEnd().split('\n');
  if (lines.join('') === '') return;
  const border = paint('red', '│');
  if (lines.length > tailLines)
    o.screen.print(`    ${border} ${paint('dim', `… ${count(lines.length - tailLines, 'line')} before`)}`);
  for (const line of lines.slice(-tailLines)) o.screen.print(`    ${border} ${line}`);
}

/** Draws the running jobs until it is time to ask again. */
async function draw(run: RunDetail, o: { screen: LiveLines; signal: AbortSignal; quiet: boolean }): Promise<void> {
  if (o.quiet || !o.screen.live) return sleep(askEvery, undefined, { signal: o.signal });
  const until = Date.now() + askEvery;
  while (Date.now() < until) {
    const now = Date.now();
    const running = run.jobs.filter((job) => job.state === 'running');
    const queued = run.jobs.filter((job) => job.state === 'queued' && job.waits);
    const done = run.jobs.filter((job) => !['blocked', 'queued', 'running'].includes(job.state)).length;
    const lines = running.map((job) => {
      const reason = jobReason(job);
      return `${paint('blue', o.screen.tick())} ${oneLine(job.id)}  ${paint('dim', jobTime(job, now))}  ${paint('dim', reason)}`;
    });
    for (const job of queued.slice(0, 3))
      lines.push(paint('yellow', `· ${oneLine(job.id)} waits: ${oneLine(job.waits ?? '')}`));
    const time = formatDuration(now - Date.parse(run.createdAt));
    lines.push(
      paint(
        'dim',
        `${running.length === 0 ? `${o.screen.tick()} ` : '  '}${done} of ${count(run.counts.total, 'job')}  ${time}`,
      ),
    );
    o.screen.show(lines);
    await sleep(drawEvery, undefined, { signal: o.signal });
  }
}

function tellEnd(run: RunDetail): void {
  const problem = formatRunProblem(run);
  if (problem) process.stdout.write(`${problem}\n`);
  for (const publish of run.publishes) process.stdout.write(`  ${publishLine(publish)}\n`);
  const time = run.durationMs === null ? '' : ` in ${formatDuration(run.durationMs)}`;
  process.stdout.write(
    `Run ${run.number} ${paint(['bold', stateStyle(run.state)], run.state)}${time}: ${runCounts(run)}\n`,
  );
}
