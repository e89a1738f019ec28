import type { ChildProcess } from 'node:child_process';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Ending, Limits, RunOptions } from './sandbox.ts';
import { diskUsage, formatSize, freeSpace, lostSpace, memoryUsage } from './usage.ts';

/** The folders of a job that it may write to. */
const WRITABLE = ['src', 'out', 'tmp'] as const;

/** With less free space than this, the disk is full for everybody, whatever this job's share in it. */
const RESERVED_BYTES = 128 * 1024 ** 2;

const POLL_MS = 200;
const LONGEST_UNSEEN_MS = 5_000;

/** A started job: its process, and how to end all of it. */
export type Started = {
  child: ChildProcess;
  /** What the job prints. */
  output: Readable;
  /** Process whose descendants' memory counts. */
  pid: () => number | undefined;
  /** Ends all processes of the job, and resolves when none is left. Called always, also after a good end. */
  killAll: () => Promise<void>;
  /** Exit status of the script, once `child` has ended. Throws when the script never ran. */
  exitCode: (printed: Printed) => Promise<{ exitCode: number; note?: string }>;
};

/** The first and the last that a job printed, a few kilobytes of each. */
export type Printed = { first: string; last: string };

const PRINTED_CHARACTERS = 4096;

type Stop = { why: Exclude<Ending, { kind: 'exited' }>['why']; message: string };

/** Watches a job until it ends or must be ended: time, disk, memory, or `signal`. */
export async function supervise(
  started: Started,
  o: { dir: string; baselineBytes: number; limits: Limits; measure?: typeof diskUsage } & RunOptions,
): Promise<Ending> {
  const { child } = started;
  const { limits } = o;
  const begin = performance.now();
  const ended = new AbortController();
  const watch = { stop: undefined as Stop | undefined, peak: 0 };
  const stop = (why: Stop['why'], message: string): void => {
    if (watch.stop || ended.signal.aborted) return;
    watch.stop = { why, message };
    ended.abort();
    void started.killAll();
  };

  const onAbort = (): void => stop('aborted', 'the job was stopped');
  o.signal.addEventListener('abort', onAbort, { once: true });
  if (o.signal.aborted) onAbort();
  const timer = setTimeout(
    () => stop('timeout', timeoutMessage(limits.timeoutSeconds)),
    // The longest delay that a timer takes; a job of 24 days is ended by its author.
    Math.min(limits.timeoutSeconds * 1000, 2 ** 31 - 1),
  );
  const watching = Promise.all([
    watchDisk(o, watch, stop, ended.signal),
    limits.memoryBytes ? watchMemory(started, limits.memoryBytes, stop, ended.signal) : undefined,
  ]);

  try {
    const exited = new Promise<void>((resolve) => {
      if (child.exitCode !== null || child.signalCode !== null) resolve();
      child.once('exit', () => resolve());
      child.once('error', () => resolve());
    });
    const printed: Printed = { first: '', last: '' };
    const read = forward(started.output, (chunk) => {
      const text = Buffer.from(chunk).toString('utf8');
      if (printed.first.length < PRINTED_CHARACTERS) printed.first += text;
      printed.last = (printed.last + text).slice(-PRINTED_CHARACTERS);
      return o.onOutput(chunk);
    });
    await exited;
    clearTimeout(timer);
    ended.abort();
    // What the script left running in the background would go on writing to /out.
    await started.killAll();
    await Promise.all([read, watching]);
    const seconds = (performance.now() - begin) / 1000;
    const enough = o.baselineBytes + Math.max(limits.diskBytes, watch.peak);
    const last = await (o.measure ?? diskUsage)(folders(o.dir), { enough });
    const diskBytes = Math.max(watch.peak, last.bytes - o.baselineBytes, 0);
    if (watch.stop) return { kind: 'stopped', ...watch.stop, diskBytes, seconds };

    const end = await started.exitCode(printed);
    const { exitCode } = end;
    // A file as long as the limit was cut off there, whether the script noticed or not.
    if (diskBytes > limits.diskBytes || last.longestFile >= limits.diskBytes) {
      return { kind: 'stopped', why: 'disk-full', message: diskMessage(limits.diskBytes), diskBytes, seconds };
    }
    if (exitCode !== 0 && (await freeSpace(o.dir)).bytes < RESERVED_BYTES) {
      return { kind: 'stopped', why: 'no-space', message: noSpaceMessage(o.dir), diskBytes, seconds };
    }
    return { kind: 'exited', ...end, diskBytes, seconds };
  } finally {
    clearTimeout(timer);
    ended.abort();
    o.signal.removeEventListener('abort', onAbort);
    await started.killAll();
  }
}

async function forward(output: Readable, onOutput: RunOptions['onOutput']): Promise<void> {
  try {
    for await (const chunk of output) await onOutput(chunk as Uint8Array);
  } catch {
    // The pipe of a killed process may break; what was read is what there is.
  }
}

/**
 * Looking at all files is slow, asking for the free space is not. As long as the disk has not lost as much as the job
 * still may take, the job cannot have taken it, so the files are looked at when that might be so, and every few seconds.
 */
async function watchDisk(
  o: { dir: string; baselineBytes: number; limits: Limits; measure?: typeof diskUsage },
  watch: { peak: number },
  stop: (why: Stop['why'], message: string) => void,
  signal: AbortSignal,
): Promise<void> {
  const enough = o.baselineBytes + o.limits.diskBytes;
  let seen = { at: performance.now(), free: await freeSpace(o.dir), used: 0, tookMs: 0 };
  while (await pause(Math.max(POLL_MS, seen.tookMs * 4), signal)) {
    const free = await freeSpace(o.dir);
    if (free.bytes < RESERVED_BYTES) stop('no-space', noSpaceMessage(o.dir));
    const lost = lostSpace(seen.free, free);
    const now = performance.now();
    if (lost < (o.limits.diskBytes - seen.used) / 2 && now - seen.at < LONGEST_UNSEEN_MS) continue;
    try {
      const { bytes, longestFile } = await (o.measure ?? diskUsage)(folders(o.dir), { signal, enough });
      const used = Math.max(bytes - o.baselineBytes, 0);
      watch.peak = Math.max(watch.peak, used);
      if (used > o.limits.diskBytes || longestFile >= o.limits.diskBytes)
        stop('disk-full', diskMessage(o.limits.diskBytes));
      seen = { at: performance.now(), free, used, tookMs: performance.now() - now };
    } catch {
      return;
    }
  }
}

async function watchMemory(
  started: Started,
  limit: number,
  stop: (why: Stop['why'], message: string) => void,
  signal: AbortSignal,
): Promise<void> {
  while (await pause(POLL_MS, signal)) {
    const pid = started.pid();
    if (pid === undefined) continue;
    if ((await memoryUsage(pid, limit)) > limit) {
      stop('memory', memoryMessage(limit));
    }
  }
}

/** False when the wait was cut short. */
async function pause(ms: number, signal: AbortSignal): Promise<boolean> {
  try {
    await sleep(ms, undefined, { signal });
    return true;
  } catch {
    return false;
  }
}

export function folders(dir: string): string[] {
  return WRITABLE.map((name) => join(dir, name));
}

function diskMessage(limit: number): string {
  return `the job wrote more than its limit of ${formatSize(limit)} to the disk (/src, /out and /tmp together, and any one file; an empty file counts as 4K); "disk:" in treeline.yaml raises it`;
}

function timeoutMessage(limit: number): string {
  return `the job ran longer than its limit of ${formatSeconds(limit)}; "timeout:" in treeline.yaml raises it`;
}

function memoryMessage(limit: number): string {
  return `the job used more memory than its limit of ${formatSize(limit)}; "memory:" of "runs-on:" in treeline.yaml raises it`;
}

function noSpaceMessage(dir: string): string {
  return `the runner's disk is full (${dir}: less than ${formatSize(RESERVED_BYTES)} left)`;
}

function formatSeconds(seconds: number): string {
  if (seconds >= 60 && seconds % 60 === 0) return `${seconds / 60} min`;
  return `${seconds} s`;
}
