import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { OstreeError } from '../errors.ts';
import { type ProgramResult, runProgram } from './program.ts';

/** Nobody is asked anything, nothing is fetched, no agent is started: what is checked is what is there. */
const ISOLATED = [
  '--no-options',
  '--no-autostart',
  '--lock-never',
  '--disable-dirmngr',
  '--no-auto-key-retrieve',
  '--no-auto-check-trustdb',
  // Which keys count is decided by which keyring they are in.
  '--trust-model',
  'always',
];
const COMMON = ['--batch', '--no-tty', '--status-fd', '3', '--display-charset', 'utf-8'];

/** gpg reads and checks within milliseconds; this is for machines that stand still. */
const CHECK_TIMEOUT_MS = 60_000;
/** Somebody may have to type a passphrase, or to touch a token. */
const SIGN_TIMEOUT_MS = 300_000;

export interface GpgRunOptions {
  input?: Uint8Array;
  signal?: AbortSignal;
}

/** Runs gpg with a folder of its own as its home and nothing else of this machine's or user's. */
export function runIsolatedGpg(
  home: string,
  args: readonly string[],
  options: GpgRunOptions = {},
): Promise<ProgramResult> {
  return runGpg(['--homedir', home, ...ISOLATED, ...args], { ...options, timeout: CHECK_TIMEOUT_MS });
}

/** Runs gpg with a user's home folder: where secret keys and the agent are. */
export function runUserGpg(
  home: string | undefined,
  args: readonly string[],
  options: GpgRunOptions = {},
): Promise<ProgramResult> {
  const homedir = home === undefined ? [] : ['--homedir', home];
  return runGpg([...homedir, ...args], { ...options, timeout: SIGN_TIMEOUT_MS });
}

function runGpg(args: readonly string[], options: GpgRunOptions & { timeout: number }): Promise<ProgramResult> {
  // Its messages may go into ours.
  return runProgram('gpg', [...COMMON, ...args], { ...options, env: { LC_ALL: 'C.UTF-8' } });
}

/** A new home folder for gpg with this keyring as its public one; gone when `work` is done. */
export async function withGpgHome<T>(keyring: Uint8Array, work: (home: string) => Promise<T>): Promise<T> {
  const home = await mkdtemp(join(tmpdir(), 'treeline-gpg-'));
  try {
    // Without this file gpg would make one in its newer format.
    await writeFile(join(home, 'pubring.gpg'), keyring, { mode: 0o600 });
    return await work(home);
  } finally {
    await rm(home, { recursive: true, force: true });
  }
}

/** What gpg said went wrong, in one line. */
function gpgProblem(result: ProgramResult): string {
  const lines = result.errors.split('\n').map((line) => line.replace(/^gpg: /, '').trim());
  return lines.filter((line) => line !== '').at(-1) ?? `gpg ended with exit code ${result.code}`;
}

/** The error for a run of gpg that failed. */
export function gpgError(what: string, result: ProgramResult, hint?: string): OstreeError {
  return new OstreeError('signature', `${what}: ${gpgProblem(result)}`, hint === undefined ? {} : { hint });
}
