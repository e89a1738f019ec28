import type { BoardView, Event, Machine, Rebooting, Release, Resting, Staged, State, Verifying } from './state.ts';

/** Reboots that are tried before the board is taken for one that cannot switch. Power cuts count as tries, so many. */
export const REBOOT_ATTEMPTS = 10;
/** Verifications that may be cut off (each by a restart of the agent) before the release counts as the cause. */
export const VERIFY_ATTEMPTS = 10;

/**
 * The update state machine: the next state for an event. Pure; `at` (ms) only dates what is remembered.
 *
 * An event that means nothing in a state changes nothing: the same machine comes back.
 *
 * INVARIANTS
 * - A release in `bad` is never downloaded, staged, rebooted into as an update, or verified.
 * - `bad` shrinks by the server's word only: by `judged`, and by what the server was seen to hold for bad before.
 * - The boot order is changed in `rebooting` only, and `rebooting` leads to a release whose deployment is complete.
 * - Every state can be continued from what the board shows after a start: see `onStart`.
 */
export function transition(machine: Machine, event: Event, at = 0): Machine {
  const { state } = machine;
  if (event.kind === 'started') return onStart(machine, event.board, at);
  if (event.kind === 'judged') return onJudged(machine, event.bad);
  if (event.kind === 'leave') return onLeave(machine, event, at);
  switch (state.kind) {
    case 'idle':
    case 'good':
    case 'failed':
    case 'rolled-back':
      return event.kind === 'due' ? to(machine, { kind: 'checking', resting: state }) : machine;
    case 'blocked':
      return event.kind === 'due' ? to(machine, { kind: 'checking', resting: state.resting }) : machine;
    case 'checking': {
      if (event.kind === 'unreachable') return to(machine, state.resting);
      if (event.kind !== 'offered' && event.kind !== 'held') return machine;
      const { release, booted } = event;
      if (release === null || release === booted || isBad(machine, release)) return to(machine, state.resting);
      if (event.kind === 'held')
        return to(machine, { kind: 'blocked', release, why: event.why, resting: state.resting });
      return to(machine, { kind: 'downloading', release, resting: state.resting });
    }
    case 'downloading': {
      const { release, resting } = state;
      if (event.kind === 'deployed') return to(machine, { kind: 'staged', release, resting });
      if (event.kind === 'obstructed') return to(machine, { kind: 'blocked', release, why: event.why, resting });
      if (event.kind === 'unusable') return fail(machine, { release, why: event.why }, at);
      return machine;
    }
    case 'staged':
      if (event.kind === 'held')
        return event.why === state.waits ? machine : to(machine, { ...state, waits: event.why });
      if (event.kind === 'offered') return onOtherOffer(machine, state, event);
      if (event.kind !== 'reboot') return machine;
      return to(machine, {
        kind: 'rebooting',
        to: state.release,
        from: event.booted,
        bootId: event.bootId,
        attempt: 1,
        undo: null,
      });
    case 'verifying':
      if (event.kind === 'healthy') return to(machine, { kind: 'good', release: state.release });
      if (event.kind === 'unhealthy') return undo(machine, state, { why: event.why, at, bootId: event.bootId });
      return machine;
    case 'rebooting':
      // Only a start ends it.
      return event.kind === 'held' && event.why !== state.waits ? to(machine, { ...state, waits: event.why }) : machine;
  }
}

/** While a release waits for its reboot, another may be offered, or none any more. */
function onOtherOffer(
  machine: Machine,
  { release: staged, resting }: Staged,
  { release, booted }: { release: Release | null; booted: Release | null },
): Machine {
  if (release === staged) return machine;
  if (release === null || release === booted || isBad(machine, release)) return to(machine, resting);
  return to(machine, { kind: 'downloading', release, resting });
}

/** A person's word counts like a failed check: what is left is not taken again before the server forgives it. */
function onLeave(
  machine: Machine,
  o: { to: Release; booted: Release; bootId: string; why: string },
  at: number,
): Machine {
  const { kind } = machine.state;
  if ((!isResting(machine.state) && kind !== 'blocked' && kind !== 'staged') || o.to === o.booted) return machine;
  const { bootId, why } = o;
  const back: Rebooting = { kind: 'rebooting', to: o.to, from: o.booted, bootId, attempt: 1, undo: { why } };
  return to(remember(machine, { release: o.booted, why }, at), back);
}

/** Forgets what the server held for bad and no longer does, also as what the board rests on. */
function onJudged(machine: Machine, judged: readonly Release[]): Machine {
  const bad = machine.bad
    .filter(({ release, told }) => told !== true || judged.includes(release))
    .map((entry) => (entry.told !== true && judged.includes(entry.release) ? { ...entry, told: true } : entry));
  const changed = bad.length !== machine.bad.length || bad.some((entry, i) => entry !== machine.bad[i]);
  if (!changed) return machine;
  const forgiven = (release: Release) => isBad(machine, release) && !bad.some((entry) => entry.release === release);
  const rest = (resting: Resting): Resting =>
    (resting.kind === 'failed' && forgiven(resting.release)) ||
    (resting.kind === 'rolled-back' && forgiven(resting.from))
      ? { kind: 'idle' }
      : resting;
  const { state } = machine;
  if (isResting(state)) return { bad, state: rest(state) };
  return { bad, state: 'resting' in state ? { ...state, resting: rest(state.resting) } : state };
}

/** Continues after a start of the agent, whatever happened to the board meanwhile. */
function onStart(machine: Machine, board: BoardView, at: number): Machine {
  const { state } = machine;
  switch (state.kind) {
    case 'rebooting':
      return state.undo === null ? afterReboot(machine, state, board, at) : afterUndo(machine, state, board, at);
    case 'idle':
      // The agent has lost its memory in the middle of an update; the boot loader has not.
      return (board.counting || board.exhausted) && isOwnChoice(machine, board)
        ? to(machine, { kind: 'verifying', release: board.booted, from: otherThan(board.booted, board), attempt: 1 })
        : machine;
    case 'verifying':
      if (isChosen(state.release, board)) return to(machine, { kind: 'idle' });
      if (board.booted !== state.release) return fellBack(machine, state.release, board, at);
      if (state.attempt < VERIFY_ATTEMPTS) return to(machine, { ...state, attempt: state.attempt + 1 });
      return undo(machine, state, {
        why: `its verification was cut off ${VERIFY_ATTEMPTS} times`,
        at,
        bootId: board.bootId,
      });
    case 'good':
      if (board.booted === state.release) return machine;
      // Cut off before the count was taken away, the boot loader gave up on it; else a person chose another deployment,
      // perhaps for this boot only, which is no judgement.
      return board.exhausted && board.next === state.release
        ? fellBack(machine, state.release, board, at)
        : to(machine, { kind: 'idle' });
    case 'staged':
      if (board.deployed.includes(state.release)) return machine;
      return to(machine, { kind: 'downloading', release: state.release, resting: state.resting });
    case 'checking':
      return to(machine, state.resting);
    default:
      return machine;
  }
}

function afterReboot(machine: Machine, state: Rebooting, board: BoardView, at: number): Machine {
  const release = state.to;
  if (board.booted === release) return to(machine, { kind: 'verifying', release, from: state.from, attempt: 1 });
  if (board.bootId !== state.bootId && board.next === release) {
    return isChosen(release, board) ? to(machine, { kind: 'idle' }) : fellBack(machine, release, board, at);
  }
  if (!board.deployed.includes(release)) {
    return to(machine, { kind: 'downloading', release, resting: { kind: 'idle' } });
  }
  if (board.bootId === state.bootId) return machine;
  if (state.attempt < REBOOT_ATTEMPTS) {
    return to(machine, { ...state, bootId: board.bootId, attempt: state.attempt + 1 });
  }
  return fail(machine, { release, why: `the board did not boot it in ${REBOOT_ATTEMPTS} attempts` }, at);
}

/** The default runs, and nothing is known against it. */
function isOwnChoice(machine: Machine, board: BoardView): board is BoardView & { booted: Release } {
  return board.booted !== null && board.booted === board.next && !isBad(machine, board.booted);
}

/** Another deployment runs although the boot loader would still try `release`: a person chose it, which is no judgement. */
function isChosen(release: Release, board: BoardView): boolean {
  return board.counting && board.next === release && board.booted !== release;
}

/** What the boot loader would fall back to. */
function otherThan(release: Release, board: BoardView): Release | null {
  return board.deployed.find((other) => other !== release) ?? null;
}

function afterUndo(machine: Machine, state: Rebooting, board: BoardView, at: number): Machine {
  const from = state.from ?? '';
  const why = state.undo?.why ?? '';
  // The server may have forgiven the release while the board was leaving it.
  const forgiven = !isBad(machine, from);
  if (board.booted !== from) return to(machine, forgiven ? { kind: 'idle' } : { kind: 'rolled-back', from, why });
  if (board.bootId === state.bootId) return machine;
  if (state.attempt < REBOOT_ATTEMPTS && board.deployed.includes(state.to)) {
    return to(machine, { ...state, bootId: board.bootId, attempt: state.attempt + 1 });
  }
  if (forgiven) return to(machine, { kind: 'idle' });
  return fail(machine, { release: from, why: `${why}; and the board did not go back to the release before it` }, at);
}

/** The release is bad: remembered, and left for the one before it if there is one. */
function undo(machine: Machine, state: Verifying, o: { why: string; at: number; bootId: string }): Machine {
  const { release, from } = state;
  if (from === null || from === release) return fail(machine, { release, why: o.why }, o.at);
  const rebooting: Rebooting = {
    kind: 'rebooting',
    to: from,
    from: release,
    bootId: o.bootId,
    attempt: 1,
    undo: { why: o.why },
  };
  return to(remember(machine, { release, why: o.why }, o.at), rebooting);
}

function fellBack(machine: Machine, release: Release, board: BoardView, at: number): Machine {
  const why =
    board.next === release
      ? 'the boot loader went back: it did not prove good in time'
      : 'another deployment was booted before it proved good';
  return to(remember(machine, { release, why }, at), { kind: 'rolled-back', from: release, why });
}

function fail(machine: Machine, o: { release: Release; why: string }, at: number): Machine {
  return to(remember(machine, o, at), { kind: 'failed', ...o });
}

function remember(machine: Machine, o: { release: Release; why: string }, at: number): Machine {
  return isBad(machine, o.release) ? machine : { ...machine, bad: [...machine.bad, { ...o, at }] };
}

function to(machine: Machine, state: State): Machine {
  return { ...machine, state };
}

export function isBad(machine: Machine, release: Release): boolean {
  return machine.bad.some((bad) => bad.release === release);
}

const RESTING: ReadonlySet<State['kind']> = new Set(['idle', 'good', 'failed', 'rolled-back']);

/** Whether the machine waits for the next look at the server (`blocked` does, too). */
export function isResting(state: State): state is Resting {
  return RESTING.has(state.kind);
}
