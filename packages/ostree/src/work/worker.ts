import { parentPort } from 'node:worker_threads';
import { OstreeError, systemCode } from '../errors.ts';
import { runTask, type Task } from './task.ts';

/** An error as it crosses to the main thread: structured cloning would drop the class and its fields. */
export interface PortableError {
  ostree: boolean;
  code: string | undefined;
  message: string;
  hint?: string | undefined;
  offset?: number | undefined;
  object?: string | undefined;
}

parentPort?.on('message', ({ id, task }: { id: number; task: Task }) => {
  runTask(task).then(
    (result) => parentPort!.postMessage({ id, result }, result instanceof ArrayBuffer ? [result] : []),
    (error: unknown) => parentPort!.postMessage({ id, error: portable(error) }),
  );
});

function portable(error: unknown): PortableError {
  if (error instanceof OstreeError) {
    const { code, message, hint, offset, object } = error;
    return { ostree: true, code, message, hint, offset, object };
  }
  return { ostree: false, code: systemCode(error), message: error instanceof Error ? error.message : String(error) };
}
