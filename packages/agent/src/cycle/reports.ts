import { randomUUID } from 'node:crypto';
import type { Machine, State } from '../machine/index.ts';
import type { Pointed, Report, Transfer } from '../state/schema.ts';

/** aktualizr's event types; see `POST /events` of the gateway. */
type EventType =
  | 'EcuDownloadStarted'
  | 'EcuDownloadCompleted'
  | 'EcuInstallationStarted'
  | 'EcuInstallationApplied'
  | 'EcuInstallationCompleted';

interface Happening {
  type: EventType;
  release: string;
  success?: boolean;
  details?: string;
}

/** What the gateway is told of a board beside its state, where there is something to tell. */
export interface StateDetails {
  /** What the release takes on the wire, known before it was fetched. */
  download?: { objects: number; bytes: number; delta: boolean };
  bootLoader?: string;
  /** Seconds that the board's clock is behind the server's, if that is much. */
  clockBehind?: number;
  /** What is wrong with the operator's settings. */
  settings?: readonly string[];
  pinned?: string;
}

/** What the gateway is told about a step of the state machine. */
export function reportsOf(
  before: Machine,
  after: Machine,
  o: { device: string; at: number; transfer: Transfer | null; pointed: Pointed | null; details: StateDetails },
): Report[] {
  const reports: Report[] = happenings(before.state, after.state, o).map((happening) => eventReport(happening, o));
  const state = stateReport(after.state, o);
  if (state !== null) reports.push(state);
  return reports;
}

/** The state as the gateway takes it; null for `checking`, which its request for the ref already says. */
export function stateReport(
  state: State,
  { pointed, details }: { pointed: Pointed | null; details: StateDetails },
): Report | null {
  if (state.kind === 'checking') return null;
  const lasting = state.kind === 'failed' || state.kind === 'rolled-back';
  const body = stateBody(state);
  const fetchedFrom = pointed !== null && body.release === pointed.release ? { fetchedFrom: pointed.url } : {};
  return {
    id: randomUUID(),
    method: 'PUT',
    path: '/device/state',
    passing: !lasting,
    body: { ...body, ...fetchedFrom, ...(Object.keys(details).length > 0 ? { details } : {}) },
  };
}

function stateBody(state: State): Record<string, unknown> {
  switch (state.kind) {
    case 'staged':
      // What waits for a window or a lock is blocked to who looks at a fleet, whatever is on disk.
      return state.waits === undefined
        ? { state: 'staged', release: state.release }
        : { state: 'blocked', release: state.release, reason: `ready to reboot; ${state.waits}` };
    case 'good':
    case 'downloading':
    case 'verifying':
      return { state: state.kind, release: state.release };
    case 'blocked':
    case 'failed':
      return { state: state.kind, release: state.release, reason: state.why };
    case 'rolled-back':
      return { state: state.kind, from: state.from, reason: state.why };
    case 'rebooting':
      if (state.waits !== undefined) {
        return { state: 'blocked', release: state.to, reason: `ready to reboot; ${state.waits}` };
      }
      return {
        state: state.kind,
        release: state.to,
        ...(state.undo === null ? {} : { from: state.from, reason: state.undo.why }),
      };
    default:
      return { state: state.kind };
  }
}

function happenings(
  before: State,
  after: State,
  { transfer, pointed }: { transfer: Transfer | null; pointed: Pointed | null },
): Happening[] {
  if (after.kind === before.kind) return [];
  switch (after.kind) {
    case 'downloading': {
      const details = pointed?.release === after.release ? { details: `from ${pointed.url}` } : {};
      return [{ type: 'EcuDownloadStarted', release: after.release, ...details }];
    }
    case 'staged': {
      const fetched = transfer?.release === after.release ? `${transfer.objects} objects, ${transfer.bytes} bytes` : '';
      return [{ type: 'EcuDownloadCompleted', release: after.release, success: true, details: fetched }];
    }
    case 'blocked':
      return [{ type: 'EcuDownloadCompleted', release: after.release, success: false, details: after.why }];
    case 'rebooting':
      return after.undo === null ? [{ type: 'EcuInstallationStarted', release: after.to }] : [];
    case 'verifying':
      return [{ type: 'EcuInstallationApplied', release: after.release }];
    case 'good':
      return before.kind === 'verifying'
        ? [{ type: 'EcuInstallationCompleted', release: after.release, success: true }]
        : [];
    case 'failed':
      if (before.kind === 'checking') return [];
      return [{ type: 'EcuInstallationCompleted', release: after.release, success: false, details: after.why }];
    case 'rolled-back':
      if (before.kind === 'checking') return [];
      return [{ type: 'EcuInstallationCompleted', release: after.from, success: false, details: after.why }];
    default:
      return [];
  }
}

function eventReport(happening: Happening, o: { device: string; at: number }): Report {
  const id = randomUUID();
  return {
    id,
    method: 'POST',
    path: '/events',
    passing: false,
    body: {
      id,
      deviceTime: new Date(o.at).toISOString(),
      eventType: { id: happening.type, version: 0 },
      event: {
        correlationId: `treeline:${happening.release}`,
        targetName: happening.release,
        ecu: o.device,
        ...(happening.success === undefined ? {} : { success: happening.success }),
        ...(happening.details ? { details: happening.details } : {}),
      },
    },
  };
}
