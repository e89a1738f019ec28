/** 64 hex digits: an OSTree commit. A release is a commit on a channel. */
export type Release = string;

/** A release that failed on this board. It is not taken again before the server forgives it. */
export interface BadRelease {
  release: Release;
  why: string;
  /** ms since the epoch. */
  at: number;
  /** The server was seen to hold it for bad, too: only then does its absence there mean that it was forgiven. */
  told?: boolean | undefined;
}

/**
 * Nothing is going on and nothing is known about what runs. From: the first start; `checking`, when nothing is new;
 * `failed` and `rolled-back`, when the release was forgiven.
 */
export interface Idle {
  kind: 'idle';
}

/** The running release passed its checks. From: `verifying`; `checking`, when nothing is new. */
export interface Good {
  kind: 'good';
  release: Release;
}

/**
 * A release is bad, and no other one had to be booted for it: it cannot be deployed, or there is nothing to go back
 * to. From: `downloading`, `verifying`, `rebooting`; `checking`, when nothing is new.
 */
export interface Failed {
  kind: 'failed';
  release: Release;
  why: string;
}

/**
 * The release `from` was bad, and the board runs the one before it again. From: `rebooting` (the agent went back),
 * `verifying` and `good` (the boot loader did); `checking`, when nothing is new.
 */
export interface RolledBack {
  kind: 'rolled-back';
  from: Release;
  why: string;
}

/** States that wait for the next look at the server. */
export type Resting = Idle | Good | Failed | RolledBack;

/** The server is asked what this board should run. From: every resting state and `blocked`. */
export interface Checking {
  kind: 'checking';
  resting: Resting;
}

/**
 * The release is pulled and laid out beside the running one. From: `checking`; `staged`, when its tree is gone or another
 * release is offered; `rebooting`, when its tree is gone.
 */
export interface Downloading {
  kind: 'downloading';
  release: Release;
  resting: Resting;
}

/**
 * Something other than the release stops the update before it is complete on disk: no room, no network, a window, a lock, a
 * person. It is tried again at the next look. From: `checking`, `downloading`; itself, for another reason.
 */
export interface Blocked {
  kind: 'blocked';
  release: Release;
  why: string;
  resting: Resting;
}

/**
 * The release is complete on disk; the boot order is unchanged. From: `downloading`; itself, while the reboot has to wait.
 */
export interface Staged {
  kind: 'staged';
  release: Release;
  resting: Resting;
  /** Why the reboot has to wait, where it does. */
  waits?: string | undefined;
}

/**
 * The boot order is being changed to `to`, then the board reboots. From: `staged`; `verifying`, to undo a bad release;
 * every resting state, `blocked` and `staged`, when a person wants the release before; itself, when the reboot did not
 * happen.
 */
export interface Rebooting {
  kind: 'rebooting';
  to: Release;
  /** What ran when the update began; null on a board without any deployment. */
  from: Release | null;
  /** Boot of the board in which it was decided: in a later one the reboot has happened. */
  bootId: string;
  /** Boots that did not lead to `to`, plus one. */
  attempt: number;
  /** Set on the way back from the bad release `from`. */
  undo: { why: string } | null;
  /** Why somebody else has to reboot the board, where that is so. */
  waits?: string | undefined;
}

/**
 * The new release runs and is being checked. From: `rebooting`; `idle`, when the boot loader counts a boot that the agent
 * has forgotten about; itself, when the check was cut off.
 */
export interface Verifying {
  kind: 'verifying';
  release: Release;
  from: Release | null;
  attempt: number;
}

export type State = Resting | Checking | Downloading | Blocked | Staged | Rebooting | Verifying;
export type StateKind = State['kind'];

/** All that the agent must not forget: where it is, and which releases are bad. */
export interface Machine {
  state: State;
  bad: readonly BadRelease[];
}

/** What the board shows after a start. */
export interface BoardView {
  /** Changes with every boot of the board. */
  bootId: string;
  /** Commit of the running deployment; null if none runs. */
  booted: Release | null;
  /** Commit that the boot loader is set to boot. */
  next: Release | null;
  /** Commits of all complete deployments. */
  deployed: readonly Release[];
  /** The boot loader counts boots, and the count of `next` has run out. */
  exhausted: boolean;
  /** The boot loader counts boots, and `next` has some left: what runs instead, a person chose. */
  counting: boolean;
}

export type Event =
  /** The agent started, or the board came up again: what is true now. */
  | { kind: 'started'; board: BoardView }
  /** It is time to look for an update. */
  | { kind: 'due' }
  /** The server said what this board should run (null: nothing). */
  | { kind: 'offered'; release: Release | null; booted: Release | null }
  /** The server said what it holds to be bad on this board. Only to be asked when all reports have arrived. */
  | { kind: 'judged'; bad: readonly Release[] }
  /** The server said what this board should run, but it must not be fetched, or not be booted, now. */
  | { kind: 'held'; release: Release | null; booted: Release | null; why: string }
  /** A person wants the board to leave what it runs for the release before. */
  | { kind: 'leave'; to: Release; booted: Release; bootId: string; why: string }
  /** The server did not answer. */
  | { kind: 'unreachable' }
  | { kind: 'deployed' }
  /** The update cannot go on now, for no fault of the release. */
  | { kind: 'obstructed'; why: string }
  /** The release can never run here. */
  | { kind: 'unusable'; why: string }
  /** The reboot is allowed now. */
  | { kind: 'reboot'; bootId: string; booted: Release | null }
  | { kind: 'healthy' }
  | { kind: 'unhealthy'; why: string; bootId: string };

export const START: Machine = { state: { kind: 'idle' }, bad: [] };
