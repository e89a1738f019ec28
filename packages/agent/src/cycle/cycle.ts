import { OstreeError } from '@treeline/ostree/errors.ts';
import type { BoardStatus, Checkpoint, Deployer, Deployment, DownloadPlan, PullProgress } from '../deploy/deployer.ts';
import { AgentError, messageOf, systemCode } from '../errors.ts';
import type { GatewayClient } from '../gateway/client.ts';
import { type CheckResult, runChecks } from '../health/checks.ts';
import { type BadRelease, isResting, type Machine, type State } from '../machine/index.ts';
import type { Policy } from '../policy/policy.ts';
import type { Planned, StateFile, Transfer } from '../state/schema.ts';
import type { StateStore } from '../state/store.ts';
import { createRecorder } from './recorder.ts';
import type { StateDetails } from './reports.ts';
import { forgetRequest, readRequest } from './requests.ts';
import { createServerLook } from './server.ts';

/** What happens during a cycle, for people. */
export type AgentProgress =
  /** The agent has begun its work in this boot of the board. */
  | { kind: 'up'; booted: string | null }
  | { kind: 'state'; state: State }
  /** What a release will take, before it is fetched. */
  | { kind: 'plan'; planned: Planned }
  /** What has been fetched so far of the release. */
  | { kind: 'download'; release: string; progress: PullProgress }
  | { kind: 'transfer'; transfer: Transfer }
  | { kind: 'check'; result: CheckResult }
  | { kind: 'warning'; message: string };

export interface CycleDeps {
  device: string;
  /** Folder of the agent's own files. */
  agentDir: string;
  /** What the board follows. */
  channel(): string;
  /** Follows another channel from now on; durable when it resolves. */
  follow(change: { channel: string; repository: string }): Promise<void>;
  deployer: Deployer;
  client: GatewayClient;
  store: StateStore;
  policy: Policy;
  /** What the server is told of the board with each state. */
  details(): StateDetails;
  /** ms since the epoch: the latest that the server's clock was seen to show; null if it never was. */
  serverTime(): number | null;
  /** Told what runs, for the check-in headers. */
  onStatus(status: BoardStatus): void;
  onProgress?: ((progress: AgentProgress) => void) | undefined;
  /** Instead of what the settings say. */
  healthTimeoutMs?: number | undefined;
  signal?: AbortSignal | undefined;
  checkpoint?: Checkpoint | undefined;
  now?: (() => number) | undefined;
}

export interface CycleResult {
  state: State;
  /** Commit that runs now. */
  booted: string | null;
  /** What was fetched in this cycle; null if nothing was. */
  transfer: Transfer | null;
  /** Why the server could not be asked; null if it answered. */
  serverError: string | null;
  /** Reports that wait for the server. */
  unsent: number;
}

/** Runs cycles of one board. Holds what lives as long as the agent's process. */
export interface Cycler {
  /**
   * Continues what was begun, looks at the server once, and takes an update as far as it goes.
   *
   * @throws AgentError when the board itself cannot go on; a server that is away or a release that is bad is a result.
   */
  run(): Promise<CycleResult>;
}

const BY_HAND = 'a person reboots this board (reboot: manual)';

export function createCycler(deps: CycleDeps): Cycler {
  const { deployer, store, policy, signal } = deps;
  const now = deps.now ?? Date.now;
  const checkpoint: Checkpoint = deps.checkpoint ?? (() => {});
  const recorder = createRecorder(deps, now);
  const { apply, tell, send } = recorder;
  let knownBoot: string | null = null;
  let keptUp = '';
  // What runs changes with a boot only, and then it is looked at again; a look takes a slow board a second.
  let seen: BoardStatus | null = null;

  const look = async (): Promise<BoardStatus> => {
    const status = await deployer.status();
    deps.onStatus(status);
    seen = status;
    return status;
  };
  const lastLook = async (): Promise<BoardStatus> => seen ?? (await look());
  const server = createServerLook(deps, { policy, recorder, look: lastLook, now });

  const start = async () => {
    await deployer.powerOn();
    const { bootId, booted, next, deployed, exhausted, counting } = await look();
    if (bootId === knownBoot) return;
    tell({ kind: 'up', booted });
    await apply({ kind: 'started', board: { bootId, booted, next, deployed, exhausted, counting } });
    if (knownBoot === null && !isToldBad(store.current.machine)) await recorder.repeat(store.current.machine.state);
    knownBoot = bootId;
  };

  /** What a resting state still owes to the board. Idempotent: done again after every interruption, and once in a boot. */
  const keepUp = async (state: State) => {
    const { running, bootId } = await lastLook();
    const owed = `${bootId} ${JSON.stringify(state)}`;
    if (owed === keptUp) return;
    await payOff(state, running);
    keptUp = owed;
  };

  const payOff = async (state: State, running: BoardStatus['running']): Promise<void> => {
    if (state.kind === 'good' && state.release === running?.commit) return deployer.markGood();
    if (state.kind === 'rolled-back' && running !== null && state.from !== running.commit) return deployer.settle();
    await deployer.endTrial();
  };

  /** What a person wants; taken up once, and only where it can be done. */
  const takeUpRequest = async () => {
    const request = await readRequest(deps.agentDir);
    if (request === null) return;
    const { id: handled, kind, why } = request;
    if (handled !== store.current.handled) {
      if (kind === 'pin') await store.save({ handled, pinned: { why, at: now() } });
      else if (kind === 'unpin') await store.save({ handled, pinned: null });
      else {
        const { bootId, booted, deployments } = await look();
        const to = wayBack({ deployments, booted, bad: store.current.machine.bad });
        if (booted === null || to === undefined) {
          tell({ kind: 'warning', message: 'there is nothing to go back to' });
          await store.save({ handled });
        } else {
          await apply({ kind: 'leave', to, booted, bootId, why }, { handled });
        }
      }
    }
    await forgetRequest(deps.agentDir);
  };

  const download = async (state: Extract<State, { kind: 'downloading' }>): Promise<Transfer | null> => {
    const { release } = state;
    const started = now();
    const { pointed } = store.current;
    const at = pointed?.release === release ? pointed : null;
    try {
      const plan = await planFor(state, at);
      await checkpoint('pull');
      const report = await deployer.pull(release, {
        ...{ channel: deps.channel(), at, plan, signal },
        limit: (await policy.settings()).download.limit,
        onProgress: (progress) => tell({ kind: 'download', release, progress }),
      });
      const transfer: Transfer = { release, ...report, milliseconds: now() - started };
      tell({ kind: 'transfer', transfer });
      await checkpoint('stage');
      await deployer.stage(release, { at, signal });
      await apply({ kind: 'deployed' }, { transfer });
      return transfer;
    } catch (error) {
      if (signal?.aborted) throw error;
      if (error instanceof AgentError && error.code === 'release-unusable') {
        await apply({ kind: 'unusable', why: error.message });
        return null;
      }
      const why = obstacle(error);
      if (why === null) throw error;
      await apply({ kind: 'obstructed', why });
      tell({ kind: 'warning', message: why });
      return null;
    }
  };

  /** What the download will take: said to people and to the server before it begins. */
  const planFor = async (
    state: Extract<State, { kind: 'downloading' }>,
    at: StateFile['pointed'],
  ): Promise<DownloadPlan> => {
    const { release } = state;
    let plan = server.planOf(release);
    if (plan === null) {
      plan = await deployer.plan(release, { at, signal });
      await deployer.makeRoom(plan);
    }
    const { objects, bytes, delta } = plan;
    if (objects === null || bytes === null) return plan;
    const planned = { release, objects, bytes, delta: delta !== null };
    tell({ kind: 'plan', planned });
    await store.save({ planned });
    await recorder.repeat(state);
    await send();
    return plan;
  };

  const verify = async () => {
    const report = await runChecks(await deployer.checks(), {
      timeoutMs: deps.healthTimeoutMs ?? (await policy.settings()).health.timeout,
      signal,
      onResult: (result) => tell({ kind: 'check', result }),
    });
    for (const result of report.results) {
      if (result.kind === 'wanted' && !result.passed) {
        tell({ kind: 'warning', message: `wanted check ${result.path} failed: ${result.output}` });
      }
    }
    const { bootId } = await lastLook();
    await apply(report.healthy ? { kind: 'healthy' } : { kind: 'unhealthy', why: report.why ?? '', bootId });
  };

  /** Changes the boot order and reboots. @returns false where a person has to */
  const reboot = async (state: Extract<State, { kind: 'rebooting' }>): Promise<boolean> => {
    await checkpoint('switch');
    if (state.undo === null) await deployer.activate(state.to);
    else await deployer.rollback(state.to);
    if (state.undo === null && (await policy.settings()).reboot === 'manual') {
      const { booted } = await lastLook();
      await apply({ kind: 'held', release: state.to, booted, why: BY_HAND });
      return false;
    }
    await checkpoint('reboot');
    await deployer.reboot(signal);
    await start();
    return true;
  };

  return {
    async run() {
      let asked = false;
      let serverError: string | null = null;
      let transfer: Transfer | null = null;
      const ask = async () => {
        asked = true;
        await send();
        serverError = await server.check();
      };
      await start();
      await takeUpRequest();
      for (;;) {
        signal?.throwIfAborted();
        const { state } = store.current.machine;
        if (isResting(state) || state.kind === 'blocked' || state.kind === 'checking') {
          await keepUp(state);
          if (asked) break;
          await ask();
        } else if (state.kind === 'downloading') {
          transfer = await download(state);
        } else if (state.kind === 'staged') {
          const { bootId, booted } = await lastLook();
          const why = await policy.mayReboot(state.release);
          if (why === null) {
            await apply({ kind: 'reboot', bootId, booted });
            continue;
          }
          if (why !== state.waits) await apply({ kind: 'held', release: state.release, booted, why });
          if (asked) break;
          await ask();
        } else if (state.kind === 'rebooting') {
          if (await reboot(state)) continue;
          // It says that it is there, and that it waits.
          serverError = await deps.client.registered(signal).then(() => null, messageOf);
          break;
        } else {
          await checkpoint('verify');
          await verify();
        }
      }
      await send();
      // A failure that the server has just heard of may be forgiven before the next look.
      if (serverError === null && store.current.machine.bad.some((bad) => bad.told !== true)) {
        await server.askForgiveness().catch((error: unknown) => {
          if (!(error instanceof AgentError)) throw error;
        });
      }
      const { booted } = await lastLook();
      return { state: store.current.machine.state, booted, transfer, serverError, unsent: store.current.outbox.length };
    },
  };
}

/** The first deployment in boot order that neither runs nor was bad; undefined when there is none. */
export function wayBack(o: {
  deployments: readonly Deployment[];
  booted: string | null;
  bad: readonly BadRelease[];
}): string | undefined {
  const isBad = (commit: string) => o.bad.some(({ release }) => release === commit);
  return o.deployments.find(({ commit }) => commit !== o.booted && !isBad(commit))?.commit;
}

/** Whether the board rests on a failure that the server knows of: saying it again would undo its being forgiven. */
function isToldBad({ state, bad }: Machine): boolean {
  const release = state.kind === 'failed' ? state.release : state.kind === 'rolled-back' ? state.from : null;
  return bad.some((entry) => entry.release === release && entry.told === true);
}

/** Why an update cannot go on now, for errors that are worth another try; null for those that are not understood. */
function obstacle(error: unknown): string | null {
  const code = systemCode(error);
  const cause = error instanceof Error ? systemCode(error.cause) : undefined;
  if (code === 'ENOSPC' || cause === 'ENOSPC' || code === 'EDQUOT') return 'no space left on the board';
  if (error instanceof OstreeError || error instanceof AgentError) return error.message;
  return code !== undefined && /^E[A-Z]+$/.test(code) ? messageOf(error) : null;
}
