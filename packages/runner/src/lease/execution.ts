import { setTimeout as sleep } from 'node:timers/promises';
import { type BoardMachine, runBoardJob } from '../board/board-job.ts';
import { RunnerError } from '../errors.ts';
import type { JobMachine } from '../job/job.ts';
import { runJob } from '../job/job.ts';
import type { JobResult, Lease } from '../protocol.ts';
import { backOff } from './back-off.ts';
import type { RunnerClient } from './client.ts';
import type { JobLog } from './log.ts';
import { createJobLog } from './log.ts';

/** Why a runner is stopped whose parent is gone. */
export const ORPHANED = new RunnerError('stopped', 'the server that started this runner is gone');

/** Why a job is ended from outside. */
type Stop = 'cancelled' | 'stale' | 'lost' | 'shutdown' | 'orphaned';

/** The server gets log pieces no more often than this. */
const LOG_GAP_MS = 200;

/** A runner that is told to stop tells the server so for this long. */
const SHUTDOWN_REPORT_MS = 1_500;

/** Stop reasons after which the server does not want to hear of this lease again. */
const SILENT: Stop[] = ['stale', 'lost', 'orphaned'];

export type ExecutionOptions = {
  client: RunnerClient;
  machine: JobMachine & BoardMachine;
  giveUpSeconds: number;
  log: (line: string) => void;
  /** The runner is being stopped; reason `ORPHANED`: its server is gone, so there is nobody to tell. */
  signal: AbortSignal;
};

/**
 * Carries out one lease: runs the job, sends its log and heartbeats, and reports its result. The job is killed at once when
 * the lease is another's (stale token), when the server cancels it or has been silent for too long, or when the
 * runner stops. Never rejects.
 */
export async function carryOut(lease: Lease, o: ExecutionOptions): Promise<void> {
  const name = `${lease.job.project}/${lease.job.job} (execution ${lease.executionId}, attempt ${lease.attempt})`;
  o.log(`runs ${name}`);
  const log = createJobLog();
  const job = new AbortController();
  const calls = new AbortController();
  const state = { stop: undefined as Stop | undefined, done: false, lastContact: Date.now() };
  const stop = (why: Stop): void => {
    if (state.stop) return;
    state.stop = why;
    job.abort(new RunnerError('stopped', STOP_MESSAGES[why]));
    if (SILENT.includes(why)) calls.abort();
    if (why === 'shutdown') setTimeout(() => calls.abort(), SHUTDOWN_REPORT_MS).unref();
  };
  const onShutdown = (): void => stop(o.signal.reason === ORPHANED ? 'orphaned' : 'shutdown');
  o.signal.addEventListener('abort', onShutdown, { once: true });
  if (o.signal.aborted) onShutdown();

  const finished = Promise.withResolvers<void>();
  const beating = heartbeats(lease, {
    client: o.client,
    giveUpSeconds: o.giveUpSeconds,
    log,
    state,
    finished: finished.promise,
    stop,
    signal: calls.signal,
  }).finally(() => log.discard());
  const options = {
    onOutput: (chunk: Uint8Array) => log.write(chunk),
    note: (line: string) => log.note(line),
    signal: job.signal,
  };
  const { board } = lease.job;
  const result = board
    ? await runBoardJob({ ...lease.job, board }, o.machine, {
        ...options,
        device: (request, signal) => o.client.board(lease.executionId, { token: lease.token, ...request }, signal),
      })
    : await runJob(lease.job, o.machine, options);
  log.end();
  const final = resultOf(result, state.stop);
  if (final && final.status !== 'passed') log.note(final.message);
  state.done = true;
  finished.resolve();
  await beating;
  o.signal.removeEventListener('abort', onShutdown);

  // The heartbeats that carried the rest of the log may have said that the lease is lost.
  if (!final || (state.stop && SILENT.includes(state.stop))) {
    o.log(`gave up ${name}: ${STOP_MESSAGES[state.stop ?? 'lost']}`);
    return;
  }
  const reported = await report(lease, final, { ...o, state, signal: calls.signal });
  const why = final.status === 'passed' ? '' : `: ${final.message}`;
  o.log(`${final.status === 'failed' ? `failed (${final.reason})` : final.status} ${name}${why}${reported}`);
}

const STOP_MESSAGES: Record<Stop, string> = {
  cancelled: 'the job was cancelled',
  stale: 'the lease went to another runner',
  lost: 'the server did not answer for too long',
  shutdown: 'the runner was stopped',
  orphaned: ORPHANED.message,
};

/** What to report of a job that was perhaps stopped from outside; null: nothing, the lease is gone. */
function resultOf(result: JobResult, stop: Stop | undefined): JobResult | null {
  // A job that was done before the stop took effect stays done.
  if (!stop || result.status === 'passed') return stop && SILENT.includes(stop) ? null : result;
  if (stop === 'shutdown') return { status: 'infrastructure', message: STOP_MESSAGES.shutdown };
  if (stop === 'cancelled') return { status: 'failed', reason: 'killed', message: STOP_MESSAGES.cancelled };
  return null;
}

type Beats = {
  client: RunnerClient;
  giveUpSeconds: number;
  log: JobLog;
  state: { done: boolean; lastContact: number };
  /** Resolves when the job is done and its log complete. */
  finished: Promise<void>;
  stop: (why: Stop) => void;
  signal: AbortSignal;
};

/** Heartbeats until the job is done and its log is sent: when there is something to send, and at least as often as asked. */
async function heartbeats(lease: Lease, o: Beats): Promise<void> {
  const { log, state } = o;
  let failures = 0;
  while (!o.signal.aborted && !(state.done && log.empty)) {
    const { text, offset } = log.peek();
    const answer = await o.client.heartbeat(
      lease.executionId,
      { token: lease.token, logOffset: offset, ...(text === '' ? {} : { log: text }) },
      o.signal,
    );
    if (answer.kind === 'unavailable') {
      failures++;
      if (Date.now() - state.lastContact > o.giveUpSeconds * 1000) o.stop('lost');
      await pause(Math.min(backOff(failures), lease.heartbeatSeconds * 1000), o.signal);
      continue;
    }
    if (answer.kind !== 'ok') {
      o.stop('stale');
      return;
    }
    failures = 0;
    state.lastContact = Date.now();
    log.acknowledge(text);
    if (answer.body.cancel) o.stop('cancelled');
    await pause(LOG_GAP_MS, o.signal, o.finished);
    if (log.empty) await pause(lease.heartbeatSeconds * 1000 - LOG_GAP_MS, o.signal, o.finished, log.changed());
  }
}

/** Reports a result until the server has it, or will not have it. Returns what there is to say about that. */
async function report(
  lease: Lease,
  result: JobResult,
  o: { client: RunnerClient; giveUpSeconds: number; state: { lastContact: number }; signal: AbortSignal },
): Promise<string> {
  let told = result;
  for (let failures = 1; !o.signal.aborted; failures++) {
    const answer = await o.client.complete(lease.executionId, { token: lease.token, result: told }, o.signal);
    if (answer.kind === 'ok') return '';
    if (answer.kind === 'stale') return ', but the lease went to another runner';
    if (answer.kind === 'refused') {
      if (told.status === 'infrastructure') return `, but the server refuses that: ${answer.message}`;
      // The outputs are not whole in the store, or the result makes no sense to the server: not the job's fault.
      told = { status: 'infrastructure', message: `the server refused the job's result: ${answer.message}` };
      continue;
    }
    if (Date.now() - o.state.lastContact > o.giveUpSeconds * 1000) break;
    await pause(backOff(failures), o.signal);
  }
  return ', but the server did not answer';
}

/** Waits, but no longer than until `signal` or one of `early`. */
async function pause(ms: number, signal: AbortSignal, ...early: Array<Promise<void>>): Promise<void> {
  const over = new AbortController();
  const timer = sleep(Math.max(ms, 0), undefined, { signal: AbortSignal.any([signal, over.signal]) }).catch(() => {});
  await Promise.race([timer, ...early]);
  over.abort();
}
