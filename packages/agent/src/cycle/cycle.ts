import { OstreeError } from '@treeline/ostree/errors.ts';
import type { BoardStatus, Checkpoint, Deployer, PullProgress } from '../deploy/deployer.ts';
import { AgentError, messageOf, systemCode } from '../errors.ts';
import type { GatewayClient, Offer } from '../gateway/client.ts';
import { type CheckResult, runChecks } from '../health/checks.ts';
import { type Event, isResting, type Machine, type State, transition } from '../machine/index.ts';
import type { StateFile, Transfer } from '../state/schema.ts';
import type { StateStore } from '../state/store.ts';
import { enqueue, flush } from './outbox.ts';
import { reportsOf, stateReport } from './reports.ts';

/** What happens during a cycle, for people. */
export type AgentProgress =
  | { kind: 'state'; state: State }
  /** What has been fetched so far of the release. */
  | { kind: 'download'; release: string; progress: PullProgress }
  | { kind: 'transfer'; transfer: Transfer }
  | { kind: 'check'; result: CheckResult }
  | { kind: 'warning'; message: string };

export interface CycleDeps {
  device: string;
  /** What the board follows. */
  channel(): string;
  /** Follows another channel from now on; durable when it resolves. */
  follow(change: { channel: string; repository: string }): Promise<void>;
  deployer: Deployer;
  client: GatewayClient;
  store: StateStore;
  /** Told what runs, for the check-in headers. */
  onStatus(status: BoardStatus): void;
  onProgress?: ((progress: AgentProgress) => void) | undefined;
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

/** Without contact, reports are not tried again before this: a board must not wait for a dead server at each step. */
const FLUSH_PAUSE = 10_000;
const SAVE_CONTACT_AFTER = 60_000;

/** Runs cycles of one board. Holds what lives as long as the agent's process. */
export interface Cycler {
  /**
   * Continues what was begun, looks at the server once, and takes an update as far as it goes.
   *
   * @throws AgentError when the board itself cannot go on; a server that is away or a release that is bad is a result.
   */
  run(): Promise<CycleResult>;
}

export function createCycler(deps: CycleDeps): Cycler {
  const { deployer, client, store, signal } = deps;
  const now = deps.now ?? Date.now;
  const checkpoint: Checkpoint = deps.checkpoint ?? (() => {});
  let knownBoot: string | null = null;
  let flushAfter = 0;
  let contactSaved = 0;

  const tell = (progress: AgentProgress) => deps.onProgress?.(progress);
  const look = async (): Promise<BoardStatus> => {
    const status = await deployer.status();
    deps.onStatus(status);
    return status;
  };

  const send = async () => {
    if (now() < flushAfter) return;
    const problem = await flush(store, client, signal);
    flushAfter = problem === null ? 0 : now() + FLUSH_PAUSE;
  };

  /** Records what an event leads to, before anything is done about it. */
  const apply = async (event: Event, change: Partial<StateFile> = {}): Promise<void> => {
    const before = store.current.machine;
    const after = transition(before, event, now());
    const transfer = change.transfer ?? store.current.transfer;
    const pointed = change.pointed === undefined ? store.current.pointed : change.pointed;
    const about = { device: deps.device, at: now(), transfer, pointed };
    const reports = after === before ? [] : reportsOf(before, after, about);
    await checkpoint(`record: ${after.state.kind}`);
    await store.save({ machine: after, outbox: enqueue(store.current.outbox, reports), ...change });
    await checkpoint(`recorded: ${after.state.kind}`);
    if (after !== before) tell({ kind: 'state', state: after.state });
    await send();
  };

  const start = async () => {
    await deployer.powerOn();
    const { bootId, booted, next, deployed, exhausted } = await look();
    if (bootId === knownBoot) return;
    await apply({ kind: 'started', board: { bootId, booted, next, deployed, exhausted } });
    if (knownBoot === null && !isToldBad(store.current.machine)) {
      const report = stateReport(store.current.machine.state, store.current.pointed);
      if (report !== null) await store.save({ outbox: enqueue(store.current.outbox, [report]) });
    }
    knownBoot = bootId;
  };

  /** What a resting state still owes to the board. Idempotent: done again after every interruption. */
  const keepUp = async (state: State) => {
    const { running } = await look();
    if (state.kind === 'good' && state.release === running?.commit) await deployer.markGood();
    if (state.kind === 'rolled-back' && running !== null && state.from !== running.commit) await deployer.settle();
  };

  /**
   * Learns what was forgiven. While reports wait, the server may not yet know of what is bad; and afterwards only what
   * it was seen to know can be forgiven: a server that lost its memory forgives nothing.
   *
   * @throws AgentError `unreachable`, `refused`
   */
  const askForgiveness = async (): Promise<void> => {
    const before = store.current.machine;
    if (before.bad.length === 0 || store.current.outbox.length > 0) return;
    const { badReleases } = await client.registered(signal);
    const machine = transition(before, { kind: 'judged', bad: badReleases }, now());
    if (machine === before) return;
    // Repeating `failed` or `rolled-back` would make the release bad on the server anew.
    const report =
      machine.state.kind === 'idle' && before.state.kind !== 'idle' ? stateReport(machine.state, null) : null;
    await store.save({ machine, outbox: enqueue(store.current.outbox, report === null ? [] : [report]) });
    if (report !== null) tell({ kind: 'state', state: machine.state });
  };

  /** What to run. An operator may have let the board follow another channel since it last asked. */
  const offered = async (): Promise<Offer | null> => {
    const asked = deps.channel();
    try {
      return await client.offered(asked, signal);
    } catch (error) {
      if (!(error instanceof AgentError) || error.code !== 'other-channel') throw error;
      const { channel, repository } = await client.registered(signal);
      if (channel === null || channel === asked) throw error;
      await deps.follow({ channel, repository });
      return client.offered(channel, signal);
    }
  };

  /** Asks the server. A state file is not written for an answer that changes nothing. */
  const check = async (): Promise<string | null> => {
    const { booted } = await look();
    try {
      await askForgiveness();
      const offer = await offered();
      const release = offer?.commit ?? null;
      const bad = store.current.machine.bad.find((entry) => entry.release === release);
      if (bad !== undefined && release !== booted) {
        tell({ kind: 'warning', message: `release ${bad.release} is offered, but was bad on this board: ${bad.why}` });
      }
      const event: Event = { kind: 'offered', release, booted };
      const machine = {
        ...store.current.machine,
        state: { kind: 'checking' as const, resting: restingOf(store.current.machine.state) },
      };
      const next = transition(machine, event, now());
      const contact = { checkedAt: now(), lastError: null };
      if (next.state.kind === 'downloading') {
        await store.save({ machine, ...contact });
        const { at = null } = offer ?? {};
        await apply(event, { pointed: at === null ? null : { release: next.state.release, ...at } });
      } else if (next.state !== store.current.machine.state) {
        // What blocked the update is no longer wanted.
        const report = stateReport(next.state, store.current.pointed);
        const outbox = enqueue(store.current.outbox, report === null ? [] : [report]);
        await store.save({ machine: next, outbox, ...contact });
        tell({ kind: 'state', state: next.state });
      } else if (store.current.lastError !== null || now() - contactSaved > SAVE_CONTACT_AFTER) {
        contactSaved = now();
        await store.save(contact);
      }
      return null;
    } catch (error) {
      if (!(error instanceof AgentError)) throw error;
      if (store.current.lastError !== error.message) await store.save({ lastError: error.message });
      tell({ kind: 'warning', message: error.message });
      return error.message;
    }
  };

  const download = async (release: string): Promise<Transfer | null> => {
    const started = now();
    const { pointed } = store.current;
    const at = pointed?.release === release ? pointed : null;
    try {
      await checkpoint('pull');
      const report = await deployer.pull(release, {
        channel: deps.channel(),
        at,
        signal,
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

  const verify = async () => {
    const report = await runChecks(await deployer.checks(), {
      timeoutMs: deps.healthTimeoutMs,
      signal,
      onResult: (result) => tell({ kind: 'check', result }),
    });
    for (const result of report.results) {
      if (result.kind === 'wanted' && !result.passed) {
        tell({ kind: 'warning', message: `wanted check ${result.path} failed: ${result.output}` });
      }
    }
    const { bootId } = await look();
    await apply(report.healthy ? { kind: 'healthy' } : { kind: 'unhealthy', why: report.why ?? '', bootId });
  };

  return {
    async run() {
      let asked = false;
      let serverError: string | null = null;
      let transfer: Transfer | null = null;
      await start();
      for (;;) {
        signal?.throwIfAborted();
        const { state } = store.current.machine;
        if (isResting(state) || state.kind === 'blocked' || state.kind === 'checking') {
          await keepUp(state);
          if (asked) break;
          asked = true;
          await send();
          serverError = await check();
        } else if (state.kind === 'downloading') {
          transfer = await download(state.release);
        } else if (state.kind === 'staged') {
          const { bootId, booted } = await look();
          await apply({ kind: 'reboot', bootId, booted });
        } else if (state.kind === 'rebooting') {
          await checkpoint('switch');
          if (state.undo === null) await deployer.activate(state.to);
          else await deployer.rollback(state.to);
          await checkpoint('reboot');
          await deployer.reboot(signal);
          await start();
        } else {
          await checkpoint('verify');
          await verify();
        }
      }
      await send();
      // A failure that the server has just heard of may be forgiven before the next look.
      if (serverError === null && store.current.machine.bad.some((bad) => bad.told !== true)) {
        await askForgiveness().catch((error: unknown) => {
          if (!(error instanceof AgentError)) throw error;
        });
      }
      const { booted } = await look();
      return { state: store.current.machine.state, booted, transfer, serverError, unsent: store.current.outbox.length };
    },
  };
}

/** Whether the board rests on a failure that the server knows of: saying it again would undo its being forgiven. */
function isToldBad({ state, bad }: Machine): boolean {
  const release = state.kind === 'failed' ? state.release : state.kind === 'rolled-back' ? state.from : null;
  return bad.some((entry) => entry.release === release && entry.told === true);
}

function restingOf(state: State) {
  if (isResting(state)) return state;
  return 'resting' in state ? state.resting : { kind: 'idle' as const };
}

/** Why an update cannot go on now, for errors that are worth another try; null for those that are not understood. */
function obstacle(error: unknown): string | null {
  const code = systemCode(error);
  const cause = error instanceof Error ? systemCode(error.cause) : undefined;
  if (code === 'ENOSPC' || cause === 'ENOSPC' || code === 'EDQUOT') return 'no space left on the board';
  if (error instanceof OstreeError || error instanceof AgentError) return error.message;
  return code !== undefined && /^E[A-Z]+$/.test(code) ? messageOf(error) : null;
}
