import { readFile } from 'node:fs/promises';
import { arch, hostname, release as kernel, totalmem } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import { boardPaths, changeChannel, type Identity, requireIdentity } from '../board/identity.ts';
import { lockBoard } from '../board/lock.ts';
import type { Checkpoint } from '../deploy/deployer.ts';
import { openDeployer } from '../deploy/open-deployer.ts';
import type { Remote } from '../deploy/remote.ts';
import { messageOf } from '../errors.ts';
import { createClient, type GatewayClient } from '../gateway/client.ts';
import { ensureSandbox } from '../health/sandbox.ts';
import { openState, type StateStore } from '../state/store.ts';
import { type AgentProgress, type CycleResult, type Cycler, createCycler } from './cycle.ts';
import { enqueue } from './outbox.ts';

export interface AgentOptions {
  /** The board's folder, as given to `enrol`. */
  board: string;
  signal?: AbortSignal;
  onProgress?: (progress: AgentProgress) => void;
  /** Limit of each health check. Default 60 s. */
  healthTimeoutMs?: number;
  /** For tests: called between the steps of an update; what it throws ends the agent there. */
  checkpoint?: Checkpoint;
}

export interface AgentLoopOptions extends AgentOptions {
  /** Time between looks at the server. Default 60. */
  pollSeconds?: number;
  /** Share of the pause that is random, so that a fleet does not ask in step. Default 0.2. */
  jitter?: number;
}

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
 * Runs cycles until the signal aborts. What goes wrong in a cycle is told by `onProgress` and tried again.
 *
 * @throws AgentError `not-enrolled`, `busy`, `tool-missing`
 */
export async function runAgent(o: AgentLoopOptions): Promise<void> {
  const agent = await openAgent(o);
  const pause = (o.pollSeconds ?? 60) * 1000;
  const jitter = o.jitter ?? 0.2;
  try {
    while (!o.signal?.aborted) {
      try {
        await agent.cycler.run();
      } catch (error) {
        if (o.signal?.aborted) break;
        if (o.checkpoint !== undefined) throw error;
        o.onProgress?.({ kind: 'warning', message: messageOf(error) });
      }
      releaseMemory();
      await sleep(pause * (1 - jitter / 2 + jitter * Math.random()), undefined, { signal: o.signal }).catch(() => {});
    }
  } finally {
    await agent.close();
  }
}

/** What a cycle left behind goes now, and not when the next one needs room; only where Node was started with a `gc`. */
function releaseMemory(): void {
  (globalThis as { gc?: () => void }).gc?.();
}

interface OpenAgent {
  cycler: Cycler;
  close(): Promise<void>;
}

async function openAgent(o: AgentOptions): Promise<OpenAgent> {
  let identity = await requireIdentity(o.board);
  const paths = boardPaths(o.board);
  const lock = await lockBoard(paths.agent);
  let client: GatewayClient | null = null;
  try {
    if (!runsOnItself(identity)) await ensureSandbox();
    const [cert, key, ca] = await Promise.all([
      readFile(paths.certificate, 'utf8'),
      readFile(paths.key, 'utf8'),
      readFile(paths.ca, 'utf8'),
    ]);
    const store = await openState(paths.agent);
    let booted: string | null = null;
    const headers = (): Record<string, string> => ({
      'x-ats-tags': identity.channel,
      ...(booted === null ? {} : { 'x-ats-ostreehash': booted, 'x-ats-target': `${identity.channel}@${booted}` }),
    });
    const tls = { cert, key, ca };
    const remote: Remote = {
      gateway: identity.gateway,
      files: { cert: paths.certificate, key: paths.key, ca: paths.ca },
      tls,
      headers,
    };
    const opened = createClient({ gateway: identity.gateway, tls, headers });
    client = opened;
    await introduce(store, identity);
    const cycler = createCycler({
      device: identity.id,
      channel: () => identity.channel,
      async follow(change) {
        identity = await changeChannel(o.board, { identity, ...change });
      },
      deployer: await openDeployer(o.board, { identity, remote, checkpoint: o.checkpoint }),
      client: opened,
      store,
      onStatus: (status) => {
        booted = status.booted;
      },
      onProgress: o.onProgress,
      healthTimeoutMs: o.healthTimeoutMs,
      signal: o.signal,
      checkpoint: o.checkpoint,
    });
    return {
      cycler,
      async close() {
        opened.close();
        await lock.release();
      },
    };
  } catch (error) {
    client?.close();
    await lock.release();
    throw error;
  }
}

function runsOnItself(identity: Identity): boolean {
  return identity.deployer.kind === 'ostree-sysroot' && identity.deployer.sysroot === '/';
}

/** Tells the gateway what this board is; not worth a write of its own. */
async function introduce(store: StateStore, identity: Identity): Promise<void> {
  const body = {
    hostname: hostname(),
    arch: arch(),
    kernel: kernel(),
    memoryBytes: totalmem(),
    hardwareId: identity.hardwareId,
    deployer: identity.deployer.kind,
  };
  const report = { id: 'system_info', method: 'PUT' as const, path: '/system_info', body, passing: true };
  await store.save({ outbox: enqueue(store.current.outbox, [report]) });
}
