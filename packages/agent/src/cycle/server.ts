import type { BoardStatus, DownloadPlan } from '../deploy/deployer.ts';
import { answerDifference } from '../difference/answer.ts';
import { AgentError, messageOf } from '../errors.ts';
import type { Offer } from '../gateway/client.ts';
import { type Event, isResting, type Machine, type State, transition } from '../machine/index.ts';
import type { Policy } from '../policy/policy.ts';
import type { StateFile } from '../state/schema.ts';
import type { CycleDeps } from './cycle.ts';
import { enqueue } from './outbox.ts';
import type { Recorder } from './recorder.ts';
import { reportsOf, stateReport } from './reports.ts';

const SAVE_CONTACT_AFTER = 60_000;

/** Looks at the server: what this board should run, and what it forgives. */
export interface ServerLook {
  /** One look. @returns why the server could not be asked; null if it answered */
  check(): Promise<string | null>;
  /**
   * Learns what was forgiven.
   *
   * @throws AgentError `unreachable`, `refused`
   */
  askForgiveness(): Promise<void>;
  /** What a release takes, as the last look found it. */
  planOf(release: string): DownloadPlan | null;
}

export function createServerLook(
  deps: CycleDeps,
  o: { policy: Policy; recorder: Recorder; look(): Promise<BoardStatus>; now: () => number },
): ServerLook {
  const { client, store, deployer, signal } = deps;
  const { now, recorder } = o;
  let contactSaved = 0;
  let plan: { release: string; plan: DownloadPlan } | null = null;

  /**
   * While reports wait, the server may not yet know of what is bad; and afterwards only what it was seen to know can be
   * forgiven: a server that lost its memory forgives nothing.
   */
  const askForgiveness = async (): Promise<void> => {
    const before = store.current.machine;
    if (before.bad.length === 0 || store.current.outbox.length > 0) return;
    const { badReleases } = await client.registered(signal);
    const machine = transition(before, { kind: 'judged', bad: badReleases }, now());
    if (machine === before) return;
    // Repeating `failed` or `rolled-back` would make the release bad on the server anew.
    const report =
      machine.state.kind === 'idle' && before.state.kind !== 'idle'
        ? stateReport(machine.state, { pointed: null, details: recorder.details(machine.state) })
        : null;
    await store.save({ machine, outbox: enqueue(store.current.outbox, report === null ? [] : [report]) });
    if (report !== null) recorder.tell({ kind: 'state', state: machine.state });
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

  /** Why an offered release must not be fetched now; null if it may. How much that is is known afterwards. */
  const obstacleTo = async ({ commit, at }: Offer): Promise<string | null> => {
    const why = await o.policy.mayDownload(commit);
    if (why !== null) return why;
    plan = { release: commit, plan: await deployer.plan(commit, { at, signal }) };
    try {
      await deployer.makeRoom(plan.plan);
      return null;
    } catch (error) {
      if (error instanceof AgentError && error.code === 'no-space') return error.message;
      throw error;
    }
  };

  /** A state file is not written for an answer that changes nothing. */
  const answered = async (offer: Offer | null, booted: string | null): Promise<void> => {
    const current = store.current.machine;
    const { state } = current;
    const release = offer?.commit ?? null;
    const bad = current.bad.find((entry) => entry.release === release);
    if (bad !== undefined && release !== booted) {
      recorder.tell({
        kind: 'warning',
        message: `release ${bad.release} is offered, but was bad on this board: ${bad.why}`,
      });
    }
    const isNew = release !== null && release !== booted && bad === undefined;
    const isReady = state.kind === 'staged' && state.release === release;
    const why = offer !== null && isNew && !isReady ? await obstacleTo(offer) : null;
    // What is ready waits on, until the one that replaces it may be fetched.
    if (state.kind === 'staged' && why !== null) return saveContact();
    const event: Event = why === null ? { kind: 'offered', release, booted } : { kind: 'held', release, booted, why };
    const machine: Machine =
      state.kind === 'staged' ? current : { ...current, state: { kind: 'checking', resting: restingOf(state) } };
    const next = transition(machine, event, now());
    if (next.state.kind === 'downloading') {
      await store.save({ machine, ...contact() });
      const { at = null } = offer ?? {};
      await recorder.apply(event, { pointed: at === null ? null : { release: next.state.release, ...at } });
    } else if (isOther(next.state, state)) {
      const about = {
        device: deps.device,
        at: now(),
        transfer: store.current.transfer,
        pointed: store.current.pointed,
      };
      const reports = reportsOf(current, next, { ...about, details: recorder.details(next.state) });
      await store.save({ machine: next, outbox: enqueue(store.current.outbox, reports), ...contact() });
      recorder.tell({ kind: 'state', state: next.state });
    } else {
      await saveContact();
    }
  };

  /** What was changed by hand is for a person's eyes: no update waits for it, and none fails with it. */
  const tellDifference = async (request: string, commit: string | null): Promise<void> => {
    await answerDifference({ client, deployer, request, commit, signal }).catch((error: unknown) => {
      signal?.throwIfAborted();
      recorder.tell({ kind: 'warning', message: `what was changed here could not be told: ${messageOf(error)}` });
    });
  };

  const contact = (): Partial<StateFile> => ({ checkedAt: now(), lastError: null, serverTime: deps.serverTime() });

  const saveContact = async () => {
    if (store.current.lastError === null && now() - contactSaved <= SAVE_CONTACT_AFTER) return;
    contactSaved = now();
    await store.save(contact());
  };

  return {
    askForgiveness,
    planOf: (release) => (plan?.release === release ? plan.plan : null),
    async check() {
      const { booted } = await o.look();
      try {
        await askForgiveness();
        const offer = await offered();
        if (offer?.asks) await tellDifference(offer.asks, booted);
        await answered(offer, booted);
        return null;
      } catch (error) {
        if (!(error instanceof AgentError)) throw error;
        if (store.current.lastError !== error.message) await store.save({ lastError: error.message });
        recorder.tell({ kind: 'warning', message: error.message });
        return error.message;
      }
    },
  };
}

function isOther(next: State, before: State): boolean {
  return next !== before && JSON.stringify(next) !== JSON.stringify(before);
}

function restingOf(state: State) {
  if (isResting(state)) return state;
  return 'resting' in state ? state.resting : { kind: 'idle' as const };
}
