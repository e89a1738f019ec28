import type { RootIds } from './root-ids.ts';

/** A place where a job's script runs: it sees its image, its source and its inputs, and reaches nothing else. */

export type SandboxJob = {
  /** The job's own folder on this machine, with the subfolders src, out and tmp, that the job may write to. */
  dir: string;
  /** Folder of the checked-out image; null: this machine's own /usr and friends. */
  image: string | null;
  inputs: Array<{ name: string; dir: string }>;
  /** Script for `sh -eu`. */
  command: string;
  environment: Record<string, string>;
  network: boolean;
  /** The job is root of a user namespace with 65,536 ids. */
  root?: boolean;
  /** Show this machine's GPU devices. */
  gpu: boolean;
  limits: Limits;
};

export type Limits = {
  timeoutSeconds: number;
  /** For all that the job writes, and for the length of one file. */
  diskBytes: number;
  memoryBytes?: number;
};

/**
 * How a job's processes ended; none of them is left. `exited` has the script's exit status as a shell gives it
 * (128 + n for signal n); `note` says more, if there is more to say.
 */
export type Ending =
  | { kind: 'exited'; exitCode: number; note?: string; diskBytes: number; seconds: number }
  | {
      kind: 'stopped';
      why: 'timeout' | 'disk-full' | 'memory' | 'no-space' | 'aborted';
      message: string;
      diskBytes: number;
      seconds: number;
    };

export type RunOptions = {
  /** Takes what the job prints, stdout and stderr in order; the job waits while the promise is pending. */
  onOutput: (chunk: Uint8Array) => Promise<void>;
  /** Kills the job. */
  signal: AbortSignal;
};

export interface Sandbox {
  readonly kind: 'bubblewrap' | 'none';
  /** What jobs that are root need; or what this machine lacks for them. */
  readonly root: RootIds | { lacks: string };
  /** Runs a job to its end. Throws RunnerError when the job could not be started; then nothing of it ran. */
  run(job: SandboxJob, options: RunOptions): Promise<Ending>;
}

/** Where a job finds things. */
export type Places = { src: string; in: string; out: string; tmp: string };

export const SANDBOX_PLACES: Places = { src: '/src', in: '/in', out: '/out', tmp: '/tmp' };

/**
 * The whole environment of a job's script. Only constants and what the job declares: all of it is covered by the
 * cache key.
 */
export function jobEnvironment(declared: Record<string, string>, places: Places): Record<string, string> {
  return {
    PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
    LANG: 'C.UTF-8',
    HOME: places.tmp,
    TMPDIR: places.tmp,
    ...declared,
    SRC: places.src,
    IN: places.in,
    OUT: places.out,
  };
}
