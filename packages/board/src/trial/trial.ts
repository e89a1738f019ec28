import type { Fault } from '../drive/board.ts';
import { legTimes } from './leg-times.ts';

/** What the server says of the device that the board is for the time of a trial. Times are the server's, in ms. */
export interface DeviceView {
  now: number;
  /** null: it has not enrolled yet. */
  device: {
    state: string;
    release: string | null;
    reason: string | null;
    current: string | null;
    lastSeen: number | null;
    bad: readonly { commit: string; reason: string | null }[];
  } | null;
  /** What it reported, oldest first. */
  events: readonly {
    number: number;
    type: string;
    release: string | null;
    success: boolean | null;
    details: string | null;
    at: number;
  }[];
  sent: { requests: number; bytes: number };
}

/** What is tried: a candidate over what production runs, or by itself. */
export interface TrialSubject {
  candidate: string;
  /** null: there is nothing to go back to. */
  production: string | null;
  faults: readonly Fault[];
}

/** One leg of a trial: the board is to run `target` and to say that it is good; or, with a full disk, to refuse. */
export interface Leg {
  name: 'install' | 'full-disk' | 'forward' | 'back' | 'again';
  target: string;
  expects: 'good' | 'blocked';
  /** What the board suffers on the way. */
  faults: readonly Fault[];
}

export type Action =
  | { kind: 'flash' | 'point'; commit: string }
  | { kind: 'power-on' | 'power-off' | 'cut' | 'fill' | 'free' | 'network-off' | 'network-on' };

/** How a leg went, in seconds. What the device did not report is null. */
export interface LegReport {
  name: string;
  target: string;
  seconds: number;
  /** Until it began to fetch. */
  check: number | null;
  /** Until all was there and staged beside what runs. */
  pull: number | null;
  /** Until it was told to boot it. */
  stage: number | null;
  /** Until the agent was up in it. */
  reboot: number | null;
  /** Until its checks had passed. */
  verify: number | null;
  /** What the device says that it fetched. */
  objects: number | null;
  bytes: number | null;
  /** What the gateway sent, refs and repeated requests included. */
  sent: { requests: number; bytes: number };
  boots: number;
  faults: string[];
}

/** Why a trial ended. `trouble`: not the candidate's doing. */
export type Verdict =
  | { kind: 'good' }
  | { kind: 'bad'; leg: Leg['name']; why: string }
  | { kind: 'trouble'; leg: Leg['name']; why: string };

export interface Trial {
  legs: readonly Leg[];
  at: number;
  /** When the leg began, by the server's clock; null: its actions are still to be done. */
  since: number | null;
  /** Number of the device's last event before it. */
  after: number;
  boots: number;
  sent: { requests: number; bytes: number };
  /** Faults of the leg that are over, with where they struck; and the network, while it is away. */
  suffered: readonly string[];
  networkBack: number | null;
  reports: readonly LegReport[];
  verdict: Verdict | null;
}

/**
 * Bytes that stay free on a full disk: enough to boot and to say so, not enough for an update, for which libostree wants 3 %
 * of the disk to stay free. ext4 keeps up to 4,096 blocks, 16 MiB, from everybody, also from root (Linux, fs/ext4/super.c,
 * `ext4_calculate_resv_clusters`): with less than that nothing at all can be written, and no system comes up.
 */
export const FULL_DISK_LEAVES = 32 * 1024 ** 2;

/** Without the network for so long; a pull that is cut off has noticed by then. */
const NETWORK_AWAY_MS = 20_000;

/** Of a leg with one boot on its way. */
export const LEG_LIMIT_MS = 8 * 60_000;

/** A board whose power is cut boots twice, and takes up what it was at. */
function limitOf({ faults }: Leg): number {
  return faults.includes('power-cut') ? 2 * LEG_LIMIT_MS : LEG_LIMIT_MS;
}

export function beginTrial({ candidate, production, faults }: TrialSubject): Trial {
  const leg = (name: Leg['name'], target: string, more: Partial<Leg> = {}): Leg => {
    return { name, target, expects: 'good', faults: [], ...more };
  };
  const onTheWay = faults.filter((fault) => fault !== 'full-disk');
  const legs =
    production === null
      ? [leg('install', candidate)]
      : [
          leg('install', production),
          ...(faults.includes('full-disk') ? [leg('full-disk', candidate, { expects: 'blocked' })] : []),
          leg('forward', candidate, { faults: onTheWay }),
          leg('back', production),
          leg('again', candidate),
        ];
  return {
    ...{ legs, at: 0, since: null, after: 0, boots: 0, sent: { requests: 0, bytes: 0 } },
    ...{ suffered: [], networkBack: null, reports: [], verdict: null },
  };
}

/** What is done to begin the leg that a trial is at. Call `began` afterwards. */
export function actionsOf(trial: Trial): Action[] {
  const { name, target } = trial.legs[trial.at]!;
  if (name === 'install') return [{ kind: 'flash', commit: target }, { kind: 'power-on' }];
  if (name === 'full-disk') {
    return [{ kind: 'power-off' }, { kind: 'fill' }, { kind: 'power-on' }, { kind: 'point', commit: target }];
  }
  const point: Action = { kind: 'point', commit: target };
  const wasFull = trial.legs[trial.at - 1]?.name === 'full-disk';
  return wasFull ? [{ kind: 'power-off' }, { kind: 'free' }, { kind: 'power-on' }, point] : [point];
}

/** The actions of the leg are done. `boots`: as many as there were before them. */
export function began(trial: Trial, view: DeviceView, board: { boots: number }): Trial {
  return { ...trial, since: view.now, after: view.events.at(-1)?.number ?? 0, boots: board.boots, sent: view.sent };
}

/**
 * What follows from a look at the device: pure. A trial without a verdict whose `since` is null has gone on to its next
 * leg, whose actions are to be done.
 *
 * INVARIANTS
 * - a verdict `good` has seen every leg end as it should, the last of them on the candidate
 * - what goes wrong before the candidate was on the board is never the candidate's doing
 */
export function look(
  trial: Trial,
  view: DeviceView,
  board: { isOn: boolean; boots: number },
): { trial: Trial; actions: Action[] } {
  const leg = trial.legs[trial.at]!;
  const since = trial.since ?? view.now;
  if (hasEnded(leg, trial, view)) return { trial: finishLeg(trial, view, board), actions: [] };
  const why = failureOf(leg, trial, view, board);
  if (why !== null) {
    const isTrouble = leg.name === 'install' && trial.legs.length > 1;
    const verdict: Verdict = { kind: isTrouble ? 'trouble' : 'bad', leg: leg.name, why };
    return { trial: { ...trial, verdict }, actions: [] };
  }
  if (trial.networkBack !== null) {
    if (view.now < trial.networkBack) return { trial, actions: [] };
    return { trial: { ...trial, networkBack: null }, actions: [{ kind: 'network-on' }] };
  }
  const next = leg.faults.find((fault) => !trial.suffered.some((text) => text.startsWith(fault)));
  const state = view.device?.release === leg.target ? (view.device?.state ?? '') : '';
  const isUnderWay = ['downloading', 'staged', 'rebooting', 'verifying'].includes(state);
  if (next === undefined || !isUnderWay || view.now === since) return { trial, actions: [] };
  const suffered = [...trial.suffered, `${next} while ${state}`];
  if (next === 'network-loss') {
    return {
      trial: { ...trial, suffered, networkBack: view.now + NETWORK_AWAY_MS },
      actions: [{ kind: 'network-off' }],
    };
  }
  return { trial: { ...trial, suffered }, actions: [{ kind: 'cut' }, { kind: 'power-on' }] };
}

function newEvents(trial: Trial, view: DeviceView, release: string): DeviceView['events'] {
  return view.events.filter((event) => event.number > trial.after && event.release === release);
}

function hasEnded(leg: Leg, trial: Trial, view: DeviceView): boolean {
  const { device } = view;
  if (device === null || trial.networkBack !== null) return false;
  if (leg.expects === 'blocked') return device.state === 'blocked' && device.release === leg.target;
  if (device.current !== leg.target) return false;
  // What an image brought was not taken as an update: it runs, and has nothing to prove.
  if (leg.name === 'install') return device.state === 'good' || device.state === 'idle';
  const proved = newEvents(trial, view, leg.target).some(
    ({ type, success }) => type === 'EcuInstallationCompleted' && success === true,
  );
  const isStruck = leg.faults.every((fault) => trial.suffered.some((text) => text.startsWith(fault)));
  return proved && isStruck && device.state === 'good' && device.release === leg.target;
}

function failureOf(leg: Leg, trial: Trial, view: DeviceView, board: { isOn: boolean }): string | null {
  const { device, now } = view;
  const limit = limitOf(leg);
  const bad = device?.bad.find(({ commit }) => commit === leg.target);
  if (bad !== undefined) return `it did not prove good: ${bad.reason ?? 'no reason given'}`;
  if (leg.expects === 'blocked' && device?.state === 'good' && device.current === leg.target) {
    return 'it took the update although its disk was full';
  }
  if (leg.expects === 'good' && device?.state === 'blocked' && now - (trial.since ?? now) > limit / 2) {
    return `it cannot take the update: ${device.reason ?? 'no reason given'}`;
  }
  if (!board.isOn) return 'the system switched the board off';
  if (now - (trial.since ?? now) <= limit) return null;
  const minutes = Math.round(limit / 60_000);
  if (device === null) return `it did not enrol within ${minutes} minutes`;
  const seen =
    device.lastSeen === null ? 'never seen' : `last seen ${Math.round((now - device.lastSeen) / 1000)} s ago`;
  return `it was not ${leg.expects} within ${minutes} minutes: ${seen}, in the state ${device.state || 'unknown'}`;
}

function finishLeg(trial: Trial, view: DeviceView, board: { boots: number }): Trial {
  const leg = trial.legs[trial.at]!;
  const reports = [...trial.reports, reportOf(leg, trial, view, board)];
  const at = trial.at + 1;
  const verdict: Verdict | null = at === trial.legs.length ? { kind: 'good' } : null;
  return { ...trial, at: verdict ? trial.at : at, since: null, suffered: [], networkBack: null, reports, verdict };
}

function reportOf(leg: Leg, trial: Trial, view: DeviceView, board: { boots: number }): LegReport {
  const since = trial.since ?? view.now;
  const events = newEvents(trial, view, leg.target);
  return {
    name: leg.name,
    target: leg.target,
    seconds: (view.now - since) / 1000,
    ...legTimes(events, since),
    sent: {
      requests: view.sent.requests - trial.sent.requests,
      bytes: view.sent.bytes - trial.sent.bytes,
    },
    boots: board.boots - trial.boots,
    faults: [...trial.suffered],
  };
}
