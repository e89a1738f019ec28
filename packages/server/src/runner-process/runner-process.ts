import { type ChildProcess, fork } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdirSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { setTimeout } from 'node:timers/promises';
import { hashToken } from '../access/token-text.ts';
import type { Core } from '../core.ts';

const FIRST_PAUSE_MS = 250;
const LONGEST_PAUSE_MS = 15_000;
/** A process that lived this long was no failed start. */
const LIVED_MS = 30_000;
const STOP_MS = 5000;
const KEPT_LINES = 10;

/** The embedded runner: a child process that is started again when it dies. */
export interface RunnerProcess {
  /** Session of the process that this token was made for; null when it is none of ours. */
  sessionOf(token: string): string | null;
  state(): { enabled: boolean; pid: number | null; problem: string | null };
  /** Starts it and keeps it running until the server closes. */
  start(): Promise<void>;
}

export interface RunnerProcessDeps {
  core: Core;
  /** URL of the API. */
  url: () => string;
  /** Called when a process has ended: its leases are void. */
  ended: (session: string, o: { count: boolean; why: string }) => Promise<void>;
}

export function createRunnerProcess({ core, url, ended }: RunnerProcessDeps): RunnerProcess {
  const { settings, log, folder } = core;
  // Each process has a token of its own, known only to it and to this memory: what holds an old one is not ours.
  let session: { id: string; hash: string } | null = null;
  let child: ChildProcess | null = null;
  let problem: string | null = null;
  let lives = 0;

  /** One life of the process, from start to end; resolves with why it ended. */
  const live = async (): Promise<string> => {
    const token = randomBytes(32).toString('base64url');
    lives += 1;
    const id = `${core.session}.${lives}`;
    session = { id, hash: hashToken(token).toString('hex') };
    mkdirSync(folder.runner, { recursive: true, mode: 0o700 });
    const process = fork(settings.runnerProgram, ['runner'], {
      env: { ...inherited(), ...environment(token) },
      execArgv: [],
      stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
    });
    child = process;
    const last: string[] = [];
    for (const stream of [process.stdout, process.stderr]) {
      if (!stream) continue;
      createInterface({ input: stream }).on('line', (line) => {
        last.push(line);
        if (last.length > KEPT_LINES) last.shift();
        log.info({ runner: process.pid }, line);
      });
    }
    const why = await new Promise<string>((resolve) => {
      process.once('error', (error) => resolve(`the runner process could not be started: ${error.message}`));
      process.once('exit', (code, signal) =>
        resolve(`the runner process ended (${signal ? `signal ${signal}` : `exit code ${code}`})`),
      );
    });
    child = null;
    session = null;
    // A process that is told to stop says nothing new.
    problem = core.signal.aborted ? null : [why, ...last].join('\n');
    await ended(id, { count: !core.signal.aborted, why });
    return why;
  };

  const environment = (token: string): Record<string, string> => ({
    TREELINE_SERVER: url(),
    TREELINE_RUNNER_TOKEN: token,
    TREELINE_STORE: folder.store,
    TREELINE_RUNNER_DIR: folder.runner,
    TREELINE_EMULATE: settings.emulate.join(','),
    TREELINE_BOARDS: settings.boards.join(','),
    TREELINE_PARENT: String(process.pid),
    ...(settings.unsandboxed ? { TREELINE_UNSANDBOXED: '1' } : {}),
  });

  const keepAlive = async (): Promise<void> => {
    let pause = FIRST_PAUSE_MS;
    while (!core.signal.aborted) {
      const started = Date.now();
      const why = await live();
      if (core.signal.aborted) return;
      pause = Date.now() - started > LIVED_MS ? FIRST_PAUSE_MS : Math.min(pause * 2, LONGEST_PAUSE_MS);
      log.warn({ pause }, `${why}; it is started again`);
      await setTimeout(pause, undefined, { signal: core.signal }).catch(() => {});
    }
  };

  return {
    sessionOf: (token) => (session && hashToken(token).toString('hex') === session.hash ? session.id : null),
    state: () => ({
      enabled: settings.runner,
      pid: child?.pid ?? null,
      problem: child && lives === 1 ? null : problem,
    }),
    async start() {
      if (!settings.runner) return;
      const stop = () => {
        const stopping = child;
        if (!stopping) return;
        stopping.kill('SIGTERM');
        const timer = globalThis.setTimeout(() => stopping.kill('SIGKILL'), STOP_MS);
        stopping.once('exit', () => clearTimeout(timer));
      };
      core.signal.addEventListener('abort', stop, { once: true });
      await keepAlive();
    },
  };
}

const KEPT = new Set(['NODE_EXTRA_CA_CERTS', 'NODE_COMPILE_CACHE']);

/** The server's environment without what is Treeline's: a database password is none of a job's business. */
function inherited(): NodeJS.ProcessEnv {
  const entries = Object.entries(process.env);
  return Object.fromEntries(entries.filter(([name]) => KEPT.has(name) || !/^(TREELINE|PG|GIT|NODE)_?/.test(name)));
}
