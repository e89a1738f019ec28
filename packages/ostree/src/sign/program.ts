import { type SpawnOptions, spawn } from 'node:child_process';
import type { Readable } from 'node:stream';
import { OstreeError, systemCode } from '../errors.ts';

export interface ProgramOptions {
  /** For its standard input. */
  input?: Uint8Array;
  /** Milliseconds after which it is ended. */
  timeout: number;
  signal?: AbortSignal;
  /** Added to the environment. */
  env?: Readonly<Record<string, string>>;
  /** More than this on one of its outputs ends it. Default 16 MiB. */
  maxOutputBytes?: number;
}

export interface ProgramResult {
  /** Its exit code; null when a signal ended it. */
  code: number | null;
  output: Buffer;
  errors: string;
  /** What it wrote to file descriptor 3: GnuPG's `--status-fd`. */
  status: string;
}

/** From asking a program to stop to ending it. */
const GRACE_MS = 2000;

/**
 * Runs a program to its end, without a shell.
 *
 * @throws OstreeError `io` when it cannot be started, does not end in time or says too much; what `signal` says
 */
export async function runProgram(
  program: string,
  args: readonly string[],
  options: ProgramOptions,
): Promise<ProgramResult> {
  options.signal?.throwIfAborted();
  const spawnOptions: SpawnOptions = {
    stdio: ['pipe', 'pipe', 'pipe', 'pipe'],
    env: { ...process.env, ...options.env },
  };
  const child = spawn(program, args, spawnOptions);
  let failure: Error | undefined;
  let hard: NodeJS.Timeout | undefined;
  const stop = (why: Error): void => {
    failure ??= why;
    child.kill('SIGTERM');
    hard ??= setTimeout(() => child.kill('SIGKILL'), GRACE_MS);
  };
  const timer = setTimeout(() => {
    stop(new OstreeError('io', `${program}: did not end within ${options.timeout / 1000} seconds`));
  }, options.timeout);
  const aborted = () => stop(options.signal!.reason as Error);
  options.signal?.addEventListener('abort', aborted, { once: true });
  const limit = options.maxOutputBytes ?? 16 * 1024 * 1024;
  const read = (stream: Readable) =>
    collect(stream, limit, () => stop(new OstreeError('io', `${program}: printed more than ${limit} bytes`)));
  try {
    const ended = new Promise<number | null>((resolve, reject) => {
      child.once('error', reject);
      child.once('close', (code) => resolve(code));
    });
    // A program that does not read all of its input says by its exit code whether that matters.
    child.stdin!.on('error', () => {});
    child.stdin!.end(options.input ?? new Uint8Array());
    const outputs = [child.stdout!, child.stderr!, child.stdio[3] as Readable].map(read);
    const code = await ended.catch((cause: unknown) => {
      throw new OstreeError('io', `${program}: ${systemCode(cause) === 'ENOENT' ? 'no such program' : String(cause)}`, {
        hint: 'Install it, or put it on the PATH.',
        cause,
      });
    });
    const [output, errors, status] = await Promise.all(outputs);
    if (failure) throw failure;
    return { code, output: output!, errors: errors!.toString('utf8'), status: status!.toString('utf8') };
  } finally {
    clearTimeout(timer);
    clearTimeout(hard);
    options.signal?.removeEventListener('abort', aborted);
  }
}

/** What a stream says, until it ends or says too much. */
async function collect(stream: Readable, limit: number, tooMuch: () => void): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let length = 0;
  stream.on('data', (chunk: Buffer) => {
    length += chunk.length;
    if (length > limit) tooMuch();
    else chunks.push(chunk);
  });
  await new Promise<void>((resolve) => stream.once('close', resolve).once('error', () => resolve()));
  return Buffer.concat(chunks);
}
