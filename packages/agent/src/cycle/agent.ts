import { execFile } from 'node:child_process';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { boardPaths, requireIdentity } from '../board/identity.ts';
import { lockBoard } from '../board/lock.ts';
import type { Checkpoint } from '../deploy/deployer.ts';
import { messageOf } from '../errors.ts';
import { ensureSandbox } from '../health/sandbox.ts';
import type { Settings } from '../policy/settings.ts';
import { openState, type StateStore } from '../state/store.ts';
import { type AgentProgress, type CycleResult, type Cycler, createCycler } from './cycle.ts';
import { type AgentParts, inventoryOf, openParts, runsOnItself } from './open-agent.ts';
import { enqueue } from './outbox.ts';

export interface AgentOptions {
  /** The board's folder, as given to `enrol`. */
  board: string;
  signal?: AbortSignal;
  onProgress?: (progress: AgentProgress) => void;
  /** Limit of each health check, instead of what the settings say (60 s where they say nothing). */
  healthTimeoutMs?: number;
  /** For tests: called between the steps of an update; what it throws ends the agent there. */
  checkpoint?: Checkpoint;
}

export interface AgentLoopOptions extends AgentOptions {
  /** Time between looks at the server, instead of what the settings say (60 where they say nothing). */
  pollSeconds?: number;
  /** Share of the pause that is random, so that a fleet does not ask in step. Default 0.2. */
  jitter?: number;
  /** Told at the start of each cycle. */
  onSettings?: (settings: Settings) => void;
}

/** The longest pause while the server is away, unless the pause is longer anyway. */
const LONGEST_PAUSE = 30 * 60_000;
/** Whoever knocks has the agent look at most this often. */
const KNOCK_PAUSE = 2_000;

/**
 * One update cycle: continues what was begun, asks the gateway once, and takes an update as far as it goes.
 *
 * @throws AgentError `not-enrolled`, `busy`, `tool-missing`, `deploy-failed`; the signal's reason when it aborts
 */
export async function runOnce(o: AgentOptions): Promise<CycleResult> {
  const agent = await openAgent(o);
  try {
    return await agent.cycler.run();
  } finally {
    await agent.close();
  }
}

/**
 * Runs cycles until the signal aborts. What goes wrong in a cycle is told by `onProgress` and tried again; while the
 * server is away, the pauses grow.
 *
 * @throws AgentError `not-enrolled`, `busy`, `tool-missing`
 */
export async function runAgent(o: AgentLoopOptions): Promise<void> {
  const agent = await openAgent(o);
  const jitter = o.jitter ?? 0.2;
  let failures = 0;
  try {
    while (!o.signal?.aborted) {
      const settings = await agent.parts.policy.settings();
      o.onSettings?.(settings);
      try {
        const { serverError } = await agent.cycler.run();
        failures = serverError === null ? 0 : failures + 1;
        await agent.mendClock();
      } catch (error) {
        if (o.signal?.aborted) break;
        if (o.checkpoint !== undefined) throw error;
        failures += 1;
        o.onProgress?.({ kind: 'warning', message: messageOf(error) });
      }
      releaseMemory();
      const pause = pauseAfter(failures, o.pollSeconds === undefined ? settings.poll : o.pollSeconds * 1000);
      await agent.rest(pause * (1 - jitter / 2 + jitter * Math.random()));
    }
  } finally {
    await agent.close();
  }
}

/** The pause doubles with each failure after the first: a fleet must not storm a server that comes back. */
export function pauseAfter(failures: number, poll: number): number {
  return Math.max(poll, Math.min(poll * 2 ** Math.max(0, Math.min(failures, 20) - 1), LONGEST_PAUSE));
}

/** What a cycle left behind goes now, and not when the next one needs room; only where Node was started with a `gc`. */
function releaseMemory(): void {
  (globalThis as { gc?: () => void }).gc?.();
}

interface OpenAgent {
  cycler: Cycler;
  parts: AgentParts;
  /** Waits, until somebody knocks. */
  rest(milliseconds: number): Promise<void>;
  /** Sets a clock that cannot be right, where that is allowed. */
  mendClock(): Promise<void>;
  close(): Promise<void>;
}

async function openAgent(o: AgentOptions): Promise<OpenAgent> {
  const identity = await requireIdentity(o.board);
  const { agent: agentDir } = boardPaths(o.board);
  let wake: AbortController | null = null;
  let knocked = 0;
  const lock = await lockBoard(agentDir, () => {
    if (Date.now() - knocked < KNOCK_PAUSE) return;
    knocked = Date.now();
    wake?.abort();
  });
  let parts: AgentParts | null = null;
  try {
    if (!runsOnItself(identity)) await ensureSandbox();
    const store = await openState(agentDir);
    const onWarning = (message: string) => o.onProgress?.({ kind: 'warning', message });
    const opened = await openParts(o.board, { store, checkpoint: o.checkpoint, onWarning, signal: o.signal });
    parts = opened;
    await introduce(store, inventoryOf(identity));
    const { deployer, client, policy, details, serverTime, follow } = opened;
    const cycler = createCycler({
      ...{ device: identity.id, agentDir, deployer, client, policy, store, details, serverTime, follow },
      channel: () => opened.identity().channel,
      onStatus: (status) => opened.setBooted(status.booted),
      onProgress: o.onProgress,
      healthTimeoutMs: o.healthTimeoutMs,
      signal: o.signal,
      checkpoint: o.checkpoint,
    });
    return {
      cycler,
      parts: opened,
      async rest(milliseconds) {
        const waking = new AbortController();
        wake = waking;
        const stop = () => waking.abort();
        o.signal?.addEventListener('abort', stop, { once: true });
        await sleep(milliseconds, undefined, { signal: waking.signal }).catch(() => {});
        o.signal?.removeEventListener('abort', stop);
        wake = null;
      },
      async mendClock() {
        const { clock } = opened;
        if (clock.isPlausible() || clock.behind() === null || !runsOnItself(identity)) return;
        if ((await policy.settings()).clock === 'leave') return;
        const seconds = Math.round(clock.now() / 1000);
        await promisify(execFile)('date', ['-u', '-s', `@${seconds}`]);
        onWarning(`the clock could not be right, and was set to ${new Date(seconds * 1000).toISOString()}`);
      },
      async close() {
        opened.close();
        await lock.release();
      },
    };
  } catch (error) {
    parts?.close();
    await lock.release();
    throw error;
  }
}

/** Tells the gateway what this board is; not worth a write of its own. */
async function introduce(store: StateStore, body: Record<string, unknown>): Promise<void> {
  const report = { id: 'system_info', method: 'PUT' as const, path: '/system_info', body, passing: true };
  await store.save({ outbox: enqueue(store.current.outbox, [report]) });
}
