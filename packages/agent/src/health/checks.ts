import { lstat, readdir } from 'node:fs/promises';
import { basename, join } from 'node:path';
import type { CheckPlace } from '../deploy/deployer.ts';
import { AgentError, messageOf } from '../errors.ts';
import { runProgram } from './program.ts';
import { sandboxArguments } from './sandbox.ts';
import { checkUnits, waitForSystem } from './system.ts';

export type CheckKind = 'required' | 'wanted';

export interface CheckResult {
  kind: CheckKind;
  /** Path inside the deployment. */
  path: string;
  passed: boolean;
  /** Null if it was ended by the time limit or a signal. */
  exitCode: number | null;
  timedOut: boolean;
  milliseconds: number;
  /** Last lines of its output. */
  output: string;
}

export interface HealthReport {
  healthy: boolean;
  /** Why not: the first required check that failed, its exit code, its last lines. Null when healthy. */
  why: string | null;
  results: readonly CheckResult[];
}

export interface HealthOptions {
  /** Limit of each check. Default 60 s. */
  timeoutMs?: number | undefined;
  signal?: AbortSignal | undefined;
  onResult?: ((result: CheckResult) => void) | undefined;
}

const DEFAULT_TIMEOUT = 60_000;
/** A system that is not up by then is judged as it is. */
const START_LIMIT = 180_000;
/** Treeline's own places, then greenboot's; /etc is for what a board's owner adds. */
const PLACES = ['usr/lib/treeline/check', 'etc/treeline/check', 'usr/lib/greenboot/check', 'etc/greenboot/check'];
const PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';

/**
 * Runs a deployment's health checks: the executables in `required.d`, then in `wanted.d`, each folder's in the order
 * of their names. The first required check that fails ends it; a wanted one only warns. On a machine they wait until
 * systemd has started everything, and units that failed are told at the end.
 *
 * @throws AgentError `tool-missing` if a deployment that is a folder cannot be entered: that is no verdict.
 */
export async function runChecks(place: CheckPlace, o: HealthOptions = {}): Promise<HealthReport> {
  const results: CheckResult[] = [];
  if (place.run === 'host') await waitForSystem(START_LIMIT, o.signal);
  for (const kind of ['required', 'wanted'] as const) {
    for (const path of await findChecks(place, kind)) {
      o.signal?.throwIfAborted();
      const result = await runCheck(place, { kind, path, ...o });
      results.push(result);
      o.onResult?.(result);
      if (kind === 'required' && !result.passed) return { healthy: false, why: explain(result), results };
    }
  }
  const units = place.run === 'host' ? await checkUnits(o.signal) : null;
  if (units !== null) {
    results.push(units);
    o.onResult?.(units);
  }
  return { healthy: true, why: null, results };
}

/** Paths inside the deployment, sorted by file name. */
async function findChecks(place: CheckPlace, kind: CheckKind): Promise<string[]> {
  const found: string[] = [];
  for (const folder of PLACES) {
    const outside = folder.startsWith('etc/') ? join(place.etc, folder.slice('etc/'.length)) : join(place.root, folder);
    const dir = join(outside, `${kind}.d`);
    for (const name of await readdir(dir).catch(() => [])) {
      // A link may lead to a place that exists only inside the deployment.
      const stats = await lstat(join(dir, name)).catch(() => null);
      const executable = stats !== null && (stats.isSymbolicLink() || (stats.isFile() && (stats.mode & 0o111) !== 0));
      if (executable) found.push(`/${folder}/${kind}.d/${name}`);
    }
  }
  return found.sort((a, b) => compare(basename(a), basename(b)) || compare(a, b));
}

async function runCheck(place: CheckPlace, o: { kind: CheckKind; path: string } & HealthOptions): Promise<CheckResult> {
  const command = place.run === 'host' ? [o.path] : ['bwrap', ...(await sandboxArguments(place)), o.path];
  const started = Date.now();
  try {
    const ended = await runProgram(command, {
      timeoutMs: o.timeoutMs ?? DEFAULT_TIMEOUT,
      environment: { PATH, HOME: '/root', LANG: 'C.UTF-8' },
      signal: o.signal,
    });
    const passed = ended.exitCode === 0 && !ended.timedOut;
    return { kind: o.kind, path: o.path, passed, milliseconds: Date.now() - started, ...ended };
  } catch (error) {
    if (o.signal?.aborted) throw error;
    if (place.run === 'sandbox') {
      throw new AgentError('tool-missing', `the health checks cannot be run: ${messageOf(error)}`, {
        hint: 'Install bubblewrap (apt-get install bubblewrap).',
        cause: error,
      });
    }
    // On the running system a check that cannot even be started (no interpreter, say) is a sick system.
    const output = messageOf(error);
    return {
      kind: o.kind,
      path: o.path,
      passed: false,
      exitCode: null,
      timedOut: false,
      milliseconds: Date.now() - started,
      output,
    };
  }
}

function explain(result: CheckResult): string {
  const how = result.timedOut
    ? 'ran past its time limit'
    : result.exitCode === null
      ? 'was ended by a signal or could not be started'
      : `failed with exit code ${result.exitCode}`;
  const output = result.output.trim();
  return `health check ${basename(result.path)} ${how}${output === '' ? '' : `:\n${output}`}`;
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
