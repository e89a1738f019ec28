import { spawn } from 'node:child_process';
import { BoardError } from './errors.ts';

export interface CommandOptions {
  cwd?: string;
  /** Added to the environment of this process; `undefined` removes. */
  env?: Readonly<Record<string, string | undefined>>;
  /** What the program reads. Without it, nothing. */
  input?: string | Buffer;
  signal?: AbortSignal | undefined;
  /** The Debian package that brings the program, for the hint. */
  debian?: string;
}

/** How much of what a program writes is kept: enough for a listing of a large system. */
const OUTPUT_LIMIT = 64 * 1024 * 1024;

/**
 * Runs a program to its end and gives back what it wrote to standard output. Its language is C, because its words are
 * read here, and its PATH has the folders of `root`.
 *
 * @throws BoardError `tool-missing`, or `tool-failed` with the last lines that it wrote; the signal's reason on abort
 */
export function run(command: string, args: readonly string[], o: CommandOptions = {}): Promise<string> {
  return new Promise((resolve, reject) => {
    const { promise, kill } = spawned(command, args, o);
    o.signal?.addEventListener('abort', kill, { once: true });
    promise
      .then(({ code, signal, stdout, stderr }) => {
        if (o.signal?.aborted) return reject(o.signal.reason as Error);
        if (code === 0) return resolve(stdout);
        const words = (stderr.trim() || stdout.trim()).split('\n').slice(-6).join('\n') || 'it wrote nothing';
        const end = signal === null ? `exit code ${code}` : `ended by ${signal}`;
        reject(new BoardError('tool-failed', `${command} ${args[0] ?? ''} failed (${end}): ${words}`));
      }, reject)
      .finally(() => o.signal?.removeEventListener('abort', kill));
  });
}

interface Ended {
  code: number | null;
  signal: string | null;
  stdout: string;
  stderr: string;
}

function spawned(
  command: string,
  args: readonly string[],
  o: CommandOptions,
): { promise: Promise<Ended>; kill: () => void } {
  o.signal?.throwIfAborted();
  const child = spawn(command, args, {
    cwd: o.cwd,
    env: { ...process.env, PATH: searchPath(), LC_ALL: 'C', ...o.env },
    stdio: [o.input === undefined ? 'ignore' : 'pipe', 'pipe', 'pipe'],
  });
  const promise = new Promise<Ended>((resolve, reject) => {
    const texts = { stdout: '', stderr: '' };
    for (const name of ['stdout', 'stderr'] as const) {
      child[name]?.setEncoding('utf8').on('data', (text: string) => {
        texts[name] = (texts[name] + text).slice(-OUTPUT_LIMIT);
      });
    }
    // One that ends without reading all says why by its exit code.
    child.stdin?.on('error', () => {});
    child.stdin?.end(o.input);
    child.on('error', (error) => {
      const missing = 'code' in error && error.code === 'ENOENT';
      const hint = o.debian === undefined ? undefined : `apt-get install ${o.debian}`;
      reject(
        missing
          ? new BoardError('tool-missing', `${command} is not installed`, { ...(hint ? { hint } : {}), cause: error })
          : new BoardError('tool-failed', `${command} could not be started: ${error.message}`, { cause: error }),
      );
    });
    child.on('close', (code, signal) => resolve({ code, signal, ...texts }));
  });
  return { promise, kill: () => child.kill('SIGTERM') };
}

/** Debian puts mke2fs, sgdisk and the like where an ordinary user's PATH does not look. */
export function searchPath(): string {
  return `${process.env.PATH ?? '/usr/bin:/bin'}:/usr/local/sbin:/usr/sbin:/sbin`;
}
