import { availableParallelism } from 'node:os';
import { extname } from 'node:path';
import { Worker } from 'node:worker_threads';
import { OstreeError, type OstreeErrorCode } from '../errors.ts';
import { runTask, type Task, type TaskResults } from './task.ts';
import type { PortableError } from './worker.ts';

interface Waiting {
  id: number;
  task: Task;
  transfer: readonly ArrayBuffer[];
  resolve(result: never): void;
  reject(error: unknown): void;
}

interface Member {
  worker: Worker;
  running: Map<number, Waiting>;
}

/**
 * The worker threads of this process: one for each core, started when there is enough to do, shared by every
 * repository, and no reason for the process to stay alive.
 */
class WorkPool {
  readonly size = Math.max(1, availableParallelism());
  #members: Member[] = [];
  #queue: Waiting[] = [];
  #next = 0;
  #cost = 0;

  /**
   * Runs a task. Small work is done in the calling thread until it adds up: starting a worker takes some 40 ms,
   * in which a thousand small files can be hashed.
   *
   * @param cost about how many bytes the task will handle
   * @param transfer memory that goes over to the worker instead of being copied; it is of no use here afterwards
   */
  run<K extends Task['kind']>(
    task: Extract<Task, { kind: K }>,
    cost: number,
    transfer: readonly ArrayBuffer[] = [],
  ): Promise<TaskResults[K]> {
    this.#cost += cost;
    if (this.#members.length === 0 && this.#cost < INLINE_BYTES) return runTask(task) as Promise<TaskResults[K]>;
    return new Promise((resolve, reject) => {
      this.#queue.push({ id: this.#next++, task, transfer, resolve, reject });
      this.#dispatch();
    });
  }

  #dispatch(): void {
    while (this.#queue.length > 0) {
      let member = this.#members.reduce<Member | undefined>(
        (best, one) => (one.running.size < (best?.running.size ?? PREFETCH) ? one : best),
        undefined,
      );
      if ((!member || member.running.size > 0) && this.#members.length < this.size) member = this.#start();
      if (!member) return;
      const job = this.#queue.shift()!;
      if (member.running.size === 0) member.worker.ref();
      member.running.set(job.id, job);
      member.worker.postMessage({ id: job.id, task: job.task }, job.transfer);
    }
  }

  #start(): Member {
    // A small nursery: what a worker makes is garbage at once, and a large one would only be resident.
    const resourceLimits = { maxYoungGenerationSizeMb: 8 };
    // In sources it is TypeScript, in the package that is published JavaScript.
    const worker = new Worker(new URL(`./worker${extname(import.meta.url)}`, import.meta.url), {
      execArgv: [],
      resourceLimits,
    });
    const member: Member = { worker, running: new Map() };
    this.#members.push(member);
    worker.on('message', (message: { id: number; result?: unknown; error?: PortableError }) => {
      const job = member.running.get(message.id);
      member.running.delete(message.id);
      if (member.running.size === 0) worker.unref();
      if (message.error) job?.reject(revive(message.error));
      else job?.resolve(message.result as never);
      this.#dispatch();
    });
    const lost = (cause: unknown) => {
      this.#members = this.#members.filter((one) => one !== member);
      for (const job of member.running.values()) {
        job.reject(new OstreeError('io', `a worker thread ended in the middle of ${job.task.kind}`, { cause }));
      }
      member.running.clear();
      this.#dispatch();
    };
    worker.on('error', lost);
    worker.on('exit', lost);
    return member;
  }
}

/** Below this much work no worker is started. */
const INLINE_BYTES = 6 * 1024 * 1024;
/** A worker gets its next task before it is done with the one before. */
const PREFETCH = 2;

function revive({ ostree, code, message, hint, offset, object }: PortableError): Error {
  if (!ostree) return Object.assign(new OstreeError('io', message), { cause: { code } });
  return new OstreeError(code as OstreeErrorCode, message, {
    ...(hint === undefined ? {} : { hint }),
    ...(offset === undefined ? {} : { offset }),
    ...(object === undefined ? {} : { object }),
  });
}

export const pool = new WorkPool();
