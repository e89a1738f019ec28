import { availableParallelism, hostname } from 'node:os';
import { RunnerError } from './errors.ts';

/** What a runner can be told. Only the first four have no default. */
export type RunnerOptions = {
  /** The server's address, for example http://127.0.0.1:8420. */
  server: string;
  /** Bearer token of the runner protocol. */
  token: string;
  /** Folder of the store, an OSTree repository. */
  store: string;
  /** Work folder: checkouts kept between jobs, and the folders of running jobs. One runner at a time may use it. */
  workDir: string;
  /** Name shown to people; default: the host's name. */
  name?: string;
  /** Labels that jobs can ask for. */
  labels?: string[];
  /** Needs to accept without having them ("gpu", "aarch64"). */
  emulate?: string[];
  /** Boards that systems are tried on: names of boards that Treeline brings along, or paths of board files. */
  boards?: string[];
  /** Run jobs without a sandbox. Never a default: a job can then do all that the runner's user can. */
  unsandboxed?: boolean;
  /** How many jobs at once; default: one for each core. */
  concurrency?: number;
  /** The checkouts kept between jobs may take this much; default 20 GiB. */
  cacheBytes?: number;
  /** Longest wait of one lease request; default 30. */
  waitSeconds?: number;
  /** A job is given up when the server has not answered for this long; default 600. */
  giveUpSeconds?: number;
  /** Process that must stay this one's parent: the runner stops when it is gone. */
  parentPid?: number;
  /** Stops the runner: it leases no more, kills its jobs and reports them as infrastructure failures. */
  signal?: AbortSignal;
  /** Takes the runner's own messages, one line each; default: standard error. */
  log?: (line: string) => void;
};

export type RunnerSettings = Readonly<Required<Omit<RunnerOptions, 'parentPid' | 'signal'>>> &
  Readonly<Pick<RunnerOptions, 'parentPid' | 'signal'>>;

const GIB = 1024 ** 3;

/** All defaults of a runner. */
export function runnerSettings(options: RunnerOptions): RunnerSettings {
  const settings = {
    name: hostname(),
    labels: [],
    emulate: [],
    boards: [],
    unsandboxed: false,
    concurrency: availableParallelism(),
    cacheBytes: 20 * GIB,
    waitSeconds: 30,
    giveUpSeconds: 600,
    log: (line: string) => console.error(line),
    ...options,
  };
  if (!URL.canParse(settings.server)) {
    throw new RunnerError('bad-settings', `the server's address ${JSON.stringify(settings.server)} is no URL`, {
      hint: 'give it as http://host:port',
    });
  }
  if (!Number.isInteger(settings.concurrency) || settings.concurrency < 1) {
    throw new RunnerError('bad-settings', `a runner cannot run ${settings.concurrency} jobs at once`, {
      hint: 'TREELINE_CONCURRENCY is a whole number of at least 1',
    });
  }
  return Object.freeze(settings);
}

/**
 * Reads the options from the environment: TREELINE_SERVER, TREELINE_RUNNER_TOKEN, TREELINE_STORE, TREELINE_RUNNER_DIR
 * (all needed), TREELINE_RUNNER_NAME, TREELINE_LABELS and TREELINE_EMULATE, TREELINE_BOARDS (comma lists), TREELINE_UNSANDBOXED=1,
 * TREELINE_CONCURRENCY, TREELINE_CACHE_BYTES, TREELINE_PARENT (pid).
 */
export function runnerOptionsFromEnvironment(environment: NodeJS.ProcessEnv = process.env): RunnerOptions {
  const needed = (name: string): string => {
    const value = environment[name];
    if (value) return value;
    throw new RunnerError('bad-settings', `${name} is not set`, {
      hint: 'a runner needs TREELINE_SERVER, TREELINE_RUNNER_TOKEN, TREELINE_STORE and TREELINE_RUNNER_DIR; `treeline up` starts one with all of them',
    });
  };
  const whole = (name: string): number | undefined => {
    const value = environment[name];
    if (!value) return undefined;
    if (/^[0-9]{1,15}$/.test(value)) return Number(value);
    throw new RunnerError('bad-settings', `${name} is ${JSON.stringify(value)}, not a whole number`);
  };
  const list = (name: string): string[] | undefined =>
    environment[name]
      ?.split(',')
      .map((item) => item.trim())
      .filter((item) => item !== '');
  const options: RunnerOptions = {
    server: needed('TREELINE_SERVER'),
    token: needed('TREELINE_RUNNER_TOKEN'),
    store: needed('TREELINE_STORE'),
    workDir: needed('TREELINE_RUNNER_DIR'),
  };
  const optional = {
    name: environment.TREELINE_RUNNER_NAME || undefined,
    labels: list('TREELINE_LABELS'),
    emulate: list('TREELINE_EMULATE'),
    boards: list('TREELINE_BOARDS'),
    unsandboxed: environment.TREELINE_UNSANDBOXED === '1' || undefined,
    concurrency: whole('TREELINE_CONCURRENCY'),
    cacheBytes: whole('TREELINE_CACHE_BYTES'),
    parentPid: whole('TREELINE_PARENT'),
  };
  return { ...options, ...Object.fromEntries(Object.entries(optional).filter(([, value]) => value !== undefined)) };
}
