import type { ChildProcess } from 'node:child_process';
import { BoardError } from '../../errors.ts';
import { ended, spawnBound } from '../child.ts';

const KEPT_OUTPUT = 4000;

/** What stands for `{name}` in a command of a board file. */
export type Placeholders = Readonly<Record<string, string>>;

/**
 * A command of a board file with its placeholders filled in, quoted for the shell.
 *
 * @throws BoardError `invalid` for a placeholder that there is not
 */
export function fillIn(command: string, values: Placeholders): string {
  return command.replace(/\{([a-z-]+)\}/g, (whole, name: string) => {
    const value = Object.hasOwn(values, name) ? values[name] : undefined;
    if (value !== undefined) return `'${value.replaceAll("'", `'\\''`)}'`;
    throw new BoardError('invalid', `${whole} stands for nothing in the command "${command}"`, {
      hint: `There are: ${Object.keys(values)
        .map((known) => `{${known}}`)
        .join(', ')}. A brace that is meant as such is written with a space.`,
    });
  });
}

/** Starts a script in a session of its own, so that all of it can be ended. It dies with this process. */
export function startScript(script: string, stdin: 'ignore' | 'pipe'): ChildProcess {
  return spawnBound('sh', ['-euc', script], { detached: true, stdio: [stdin, 'pipe', 'pipe'] });
}

/** Ends a script with all that it started in its session. */
export async function endScript(child: ChildProcess): Promise<void> {
  if (child.pid !== undefined) {
    try {
      process.kill(-child.pid, 'SIGKILL');
    } catch {
      // Gone already.
    }
  }
  await ended(child);
}

/**
 * Runs a command of a board file to its end and answers what it printed.
 *
 * @throws BoardError `board-trouble` when it fails or takes too long, with its last output; the signal's reason
 */
export async function runScript(
  script: string,
  o: { what: string; limitMs: number; signal?: AbortSignal | undefined },
): Promise<string> {
  o.signal?.throwIfAborted();
  const child = startScript(script, 'ignore');
  let said = '';
  const take = (chunk: Buffer): void => {
    said = (said + chunk.toString('utf8')).slice(-KEPT_OUTPUT);
  };
  child.stdout?.on('data', take);
  child.stderr?.on('data', take);
  let stopped: 'late' | 'aborted' | null = null;
  const stop = (why: 'late' | 'aborted'): void => {
    stopped ??= why;
    void endScript(child);
  };
  const timer = setTimeout(() => stop('late'), o.limitMs);
  const abort = (): void => stop('aborted');
  o.signal?.addEventListener('abort', abort, { once: true });
  await ended(child);
  clearTimeout(timer);
  o.signal?.removeEventListener('abort', abort);
  if (stopped === 'aborted') o.signal?.throwIfAborted();
  if (child.exitCode === 0 && stopped === null) return said;
  const how =
    stopped === 'late'
      ? `took longer than ${Math.round(o.limitMs / 1000)} s`
      : child.signalCode === null
        ? `ended with exit status ${child.exitCode}`
        : `was ended by ${child.signalCode}`;
  throw new BoardError('board-trouble', `the board's command ${o.what} ${how}`, {
    hint: said.trim() === '' ? `It was: ${script}` : said.trim(),
  });
}
