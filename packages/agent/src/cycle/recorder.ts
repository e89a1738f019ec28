import { type Event, type State, transition } from '../machine/index.ts';
import type { StateFile } from '../state/schema.ts';
import type { AgentProgress, CycleDeps } from './cycle.ts';
import { enqueue, flush } from './outbox.ts';
import { reportsOf, type StateDetails, stateReport } from './reports.ts';

/** Without contact, reports are not tried again before this: a board must not wait for a dead server at each step. */
const FLUSH_PAUSE = 10_000;

/** Records what happens before anything is done about it, and tells it. */
export interface Recorder {
  /** Records what an event leads to; durable when it resolves. */
  apply: (event: Event, change?: Partial<StateFile>) => Promise<void>;
  /** Sends the reports that wait, unless the server was just found to be away. */
  send: () => Promise<void>;
  /** Reports the state once more, with what has become known about it. */
  repeat(state: State): Promise<void>;
  tell: (progress: AgentProgress) => void;
  details(state: State): StateDetails;
}

export function createRecorder(deps: CycleDeps, now: () => number): Recorder {
  const { store, client, signal } = deps;
  let flushAfter = 0;

  const send = async () => {
    if (now() < flushAfter) return;
    const problem = await flush(store, client, signal);
    flushAfter = problem === null ? 0 : now() + FLUSH_PAUSE;
  };
  const tell = (progress: AgentProgress) => deps.onProgress?.(progress);

  /** What is known of the release that a state is about, and of the board. */
  const details = (state: State): StateDetails => {
    const { planned } = store.current;
    const about = 'release' in state ? state.release : state.kind === 'rebooting' ? state.to : null;
    if (planned === null || planned.release !== about) return deps.details();
    const { objects, bytes, delta } = planned;
    return { ...deps.details(), download: { objects, bytes, delta } };
  };

  return {
    send,
    tell,
    details,
    async apply(event, change = {}) {
      const before = store.current.machine;
      const after = transition(before, event, now());
      const transfer = change.transfer ?? store.current.transfer;
      const pointed = change.pointed === undefined ? store.current.pointed : change.pointed;
      const about = { device: deps.device, at: now(), transfer, pointed, details: details(after.state) };
      const reports = after === before ? [] : reportsOf(before, after, about);
      await deps.checkpoint?.(`record: ${after.state.kind}`);
      await store.save({ machine: after, outbox: enqueue(store.current.outbox, reports), ...change });
      await deps.checkpoint?.(`recorded: ${after.state.kind}`);
      if (after !== before) tell({ kind: 'state', state: after.state });
      await send();
    },
    async repeat(state) {
      const report = stateReport(state, { pointed: store.current.pointed, details: details(state) });
      if (report !== null) await store.save({ outbox: enqueue(store.current.outbox, [report]) });
    },
  };
}
