import { hostname } from 'node:os';
import { resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { enrol } from '../board/enrol.ts';
import { enrolAtFirst } from '../board/first-enrolment.ts';
import { runAgent, runOnce } from '../cycle/agent.ts';
import { goBack, lookNow, pin } from '../cycle/by-hand.ts';
import type { AgentProgress } from '../cycle/cycle.ts';
import { agentStatus } from '../cycle/status.ts';
import { AgentError, messageOf } from '../errors.ts';
import type { Settings } from '../policy/settings.ts';
import { shortCommit } from '../words/amounts.ts';
import { lookInWords } from '../words/look.ts';
import { progressInWords } from '../words/progress.ts';
import { statusInWords } from '../words/status.ts';
import { createConsole } from './console.ts';
import { formatFields, formatSaid } from './lines.ts';
import { createSupervisor } from './systemd.ts';

export interface DeviceOptions {
  board: string;
  once?: boolean;
  poll?: string;
  json?: boolean;
  why?: string;
  gateway?: string;
  token?: string;
  id?: string;
  channel?: string;
  'hardware-id'?: string;
  sysroot?: string;
  os?: string;
}

/** A verb of `treeline-agent`; resolves to the exit code. */
type Verb = (o: DeviceOptions, signal: AbortSignal) => Promise<number>;

/** Pause before enrolment is tried again: the network may come late, the server later. */
const ENROL_PAUSE = 30_000;
/** Without a sign of progress for this long, a cycle hangs. */
const PROGRESS_LIMIT = 45 * 60_000;

export const verbs: Record<string, Verb> = { run, status, check, rollback, pin: pinHere, unpin, enrol: enrolHere };

async function run(o: DeviceOptions, signal: AbortSignal): Promise<number> {
  const supervisor = createSupervisor();
  const alive = { at: Date.now() };
  await supervisor.ready();
  supervisor.watch(() => Date.now() - alive.at < PROGRESS_LIMIT);
  const console = createConsole();
  const onProgress = (progress: AgentProgress) => {
    alive.at = Date.now();
    console.tell(progress);
    if (o.json) return void process.stdout.write(`${JSON.stringify({ at: alive.at, ...progress })}\n`);
    const said = progressInWords(progress);
    if (said === null) return;
    process.stdout.write(`${formatSaid(said)}\n`);
    if (progress.kind === 'state') void supervisor.status(`${said.label}  ${said.text}`.trimEnd());
  };
  try {
    await waitForIdentity(o, { signal, onProgress });
    const common = { board: o.board, signal, onProgress };
    if (o.once) {
      const result = await runOnce(common);
      process.stdout.write(`runs ${result.booted ?? 'nothing yet'}\n`);
      return result.serverError === null ? 0 : 1;
    }
    const onSettings = (settings: Settings) => console.use(settings.console);
    await runAgent({ ...common, onSettings, ...(o.poll === undefined ? {} : { pollSeconds: seconds(o.poll) }) });
    return 0;
  } finally {
    supervisor.close();
  }
}

/** Enrols the board by what its image brought, as often as it takes. */
async function waitForIdentity(
  o: DeviceOptions,
  { signal, onProgress }: { signal: AbortSignal; onProgress: (progress: AgentProgress) => void },
): Promise<void> {
  for (;;) {
    try {
      const identity = await enrolAtFirst(o.board, { signal });
      if (identity !== null) return;
      throw new AgentError('not-enrolled', `${o.board} has no identity and no enrol.json`, {
        hint: 'treeline-agent enrol --gateway URL --token TOKEN',
      });
    } catch (error) {
      if (signal.aborted || o.once) throw error;
      onProgress({ kind: 'warning', message: messageOf(error) });
    }
    await sleep(ENROL_PAUSE * (0.8 + 0.4 * Math.random()), undefined, { signal });
  }
}

async function status(o: DeviceOptions): Promise<number> {
  const found = await agentStatus(o.board);
  if (o.json) process.stdout.write(`${JSON.stringify(found, null, 2)}\n`);
  else process.stdout.write(`${formatFields(statusInWords(found, Date.now()), process.stdout.columns ?? 80)}\n`);
  return 0;
}

async function check(o: DeviceOptions, signal: AbortSignal): Promise<number> {
  const look = await lookNow(o.board, signal);
  if (o.json) process.stdout.write(`${JSON.stringify(look, null, 2)}\n`);
  else process.stdout.write(`${formatFields(lookInWords(look), process.stdout.columns ?? 80)}\n`);
  return 0;
}

async function rollback(o: DeviceOptions, signal: AbortSignal): Promise<number> {
  const { from, to, byAgent } = await goBack({ board: o.board, signal, why: o.why ?? 'a person went back' });
  if (o.json) process.stdout.write(`${JSON.stringify({ from, to, byAgent })}\n`);
  else
    process.stdout.write(
      `${byAgent ? 'the agent goes' : 'gone'} back from ${shortCommit(from)} to ${shortCommit(to)}\n`,
    );
  return 0;
}

async function pinHere(o: DeviceOptions, signal: AbortSignal): Promise<number> {
  const why = o.why ?? 'by a person';
  await pin({ board: o.board, signal, why });
  if (!o.json) process.stdout.write(`pinned (${why}): what it runs stays until "treeline-agent unpin"\n`);
  return 0;
}

async function unpin(o: DeviceOptions, signal: AbortSignal): Promise<number> {
  await pin({ board: o.board, signal, why: null });
  if (!o.json) process.stdout.write('updates go on\n');
  return 0;
}

async function enrolHere(o: DeviceOptions, signal: AbortSignal): Promise<number> {
  const token = o.token ?? process.env.TREELINE_ENROLMENT_TOKEN;
  if (o.gateway === undefined || token === undefined) {
    throw new AgentError('invalid', 'where to? --gateway or --token is missing', {
      hint: 'treeline-agent enrol --gateway https://HOST:8421 --token TOKEN (or TREELINE_ENROLMENT_TOKEN)',
    });
  }
  const identity = await enrol({
    board: o.board,
    gateway: o.gateway,
    token,
    id: o.id ?? hostname(),
    signal,
    deployer: { kind: 'ostree-sysroot', sysroot: resolve(o.sysroot ?? '/'), os: o.os ?? 'treeline' },
    ...(o.channel === undefined ? {} : { channel: o.channel }),
    ...(o['hardware-id'] === undefined ? {} : { hardwareId: o['hardware-id'] }),
  });
  process.stdout.write(`${identity.id} is enrolled and follows ${identity.repository}:${identity.channel}\n`);
  return 0;
}

function seconds(text: string): number {
  const value = Number(text);
  if (Number.isFinite(value) && value > 0) return value;
  throw new AgentError('invalid', `"${text}" is no number of seconds`);
}
