import { spawn } from 'node:child_process';

export interface ProgramEnd {
  /** Null if a signal ended it. */
  exitCode: number | null;
  timedOut: boolean;
  /** The last lines of stdout and stderr together. */
  output: string;
}

const LINES_KEPT = 20;
const BYTES_KEPT = 4096;
/** A grandchild may hold the output open after everything was killed. */
const DRAIN_MS = 500;

/**
 * Runs a program with nothing but the given environment, and ends it and its process group at the time limit.
 *
 * @throws the system's error if it cannot be started, the signal's reason if it aborts
 */
export function runProgram(
  command: readonly string[],
  o: { timeoutMs: number; environment: Record<string, string>; signal?: AbortSignal | undefined },
): Promise<ProgramEnd> {
  const [program = '', ...args] = command;
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, {
      cwd: '/',
      env: o.environment,
      stdio: ['ignore', 'pipe', 'pipe'],
      // A group of its own, so that what it started ends with it.
      detached: true,
    });
    let tail: Buffer = Buffer.alloc(0);
    let timedOut = false;
    const kill = () => {
      try {
        if (child.pid !== undefined) process.kill(-child.pid, 'SIGKILL');
      } catch {
        // It has ended meanwhile.
      }
    };
    const keep = (chunk: Buffer) => {
      tail = Buffer.concat([tail, chunk]).subarray(-BYTES_KEPT);
    };
    child.stdout.on('data', keep);
    child.stderr.on('data', keep);
    const timer = setTimeout(() => {
      timedOut = true;
      kill();
    }, o.timeoutMs);
    const onAbort = () => kill();
    o.signal?.addEventListener('abort', onAbort);

    const finish = (code: number | null) => {
      clearTimeout(timer);
      o.signal?.removeEventListener('abort', onAbort);
      if (o.signal?.aborted) return reject(o.signal.reason as Error);
      resolve({ exitCode: timedOut ? null : code, timedOut, output: lastLines(tail.toString('utf8')) });
    };
    child.on('error', (error) => {
      clearTimeout(timer);
      o.signal?.removeEventListener('abort', onAbort);
      reject(error);
    });
    child.on('exit', (code) => {
      kill();
      const drain = setTimeout(() => {
        child.stdout.destroy();
        child.stderr.destroy();
      }, DRAIN_MS);
      child.on('close', () => {
        clearTimeout(drain);
        finish(code);
      });
    });
  });
}

function lastLines(text: string): string {
  return text.replace(/\n+$/, '').split('\n').slice(-LINES_KEPT).join('\n');
}
