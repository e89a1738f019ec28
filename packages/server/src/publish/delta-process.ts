import { fork } from 'node:child_process';
import { ServerError } from '../errors.ts';
import { createTurns } from './turns.ts';

/** What the process that makes a delta says at its end. */
export type DeltaOutcome = { bytes: number } | { error: string };

/** Making one delta takes all cores, and some hundred megabytes. */
const turns = createTurns();
const STOP_MS = 3000;

/**
 * Makes a static delta in a process of its own: finding out what it is made of takes one thread for long, and the
 * server must answer meanwhile. It ends when `signal` aborts, and when the server does.
 *
 * @param path of the repository
 * @returns bytes of superblock and parts
 * @throws ServerError `unprocessable` with the process's words
 */
export async function generateElsewhere(
  path: string,
  delta: { from: string; to: string },
  signal: AbortSignal,
): Promise<number> {
  const done = await turns.take('delta', signal);
  try {
    const outcome = await run(path, delta, signal);
    if ('bytes' in outcome) return outcome.bytes;
    throw new ServerError('unprocessable', outcome.error);
  } finally {
    done();
  }
}

function run(path: string, { from, to }: { from: string; to: string }, signal: AbortSignal): Promise<DeltaOutcome> {
  return new Promise((resolve) => {
    const { PATH, TMPDIR, NODE_COMPILE_CACHE } = process.env;
    const child = fork(new URL('./delta-program.ts', import.meta.url), [path, from, to], {
      env: { PATH, TMPDIR, NODE_COMPILE_CACHE },
      execArgv: [],
      stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
    });
    let outcome: DeltaOutcome | null = null;
    let said = '';
    child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      said = (said + text).slice(-2000);
    });
    child.on('message', (message) => {
      outcome = message as DeltaOutcome;
    });
    let killing: NodeJS.Timeout | undefined;
    const stop = () => {
      child.kill('SIGTERM');
      killing = setTimeout(() => child.kill('SIGKILL'), STOP_MS);
    };
    if (signal.aborted) stop();
    else signal.addEventListener('abort', stop, { once: true });
    const end = (why: string) => {
      signal.removeEventListener('abort', stop);
      clearTimeout(killing);
      resolve(outcome ?? { error: [why, said.trim().split('\n').at(-1)].filter(Boolean).join(': ') });
    };
    child.once('error', (error) => end(`no process for it could be started: ${error.message}`));
    child.once('close', (code, killed) =>
      end(`its process ended (${killed ? `signal ${killed}` : `exit code ${code}`})`),
    );
  });
}
