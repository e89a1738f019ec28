import type { Provenance } from '../api/schema.ts';
import { type Device, type DeviceEvent, type DevicePointer, DeviceState, StateDetails } from './schema.ts';
import type { BadReleaseRow, DeviceEventRow, DevicePointerRow, DeviceRow } from './tables.ts';

const time = (at: number) => new Date(at).toISOString();

/** A device as people see it. Pure. */
export function deviceView(o: {
  row: DeviceRow;
  bad: readonly BadReleaseRow[];
  target: string | null;
  pointer: DevicePointerRow | null;
  provenance: Provenance | null;
  now: number;
  /** ms without a word after which a device counts as silent. */
  silentAfter: number;
}): Device {
  const { row } = o;
  const state = DeviceState.safeParse(row.state);
  const silent = row.last_seen !== null && o.now - row.last_seen > o.silentAfter;
  return {
    id: row.id,
    accepted: row.accepted === 1,
    channel: row.channel,
    repository: row.repository,
    hardwareId: row.hardware_id,
    state: state.success ? state.data : null,
    reason: row.reason,
    release: row.release,
    rolledBackFrom: row.rolled_back_from,
    current: row.current_commit,
    target: o.target,
    badReleases: o.bad.map((bad) => ({ commit: bad.commit, reason: bad.reason, at: time(bad.at) })),
    lastSeen: row.last_seen === null ? null : time(row.last_seen),
    silentSince: silent && row.last_seen !== null ? time(row.last_seen) : null,
    address: row.address,
    fetchedFrom: row.fetched_from,
    details: detailsOf(row.details),
    pointer: o.pointer === null ? null : pointerView(o.pointer),
    createdAt: time(row.created_at),
    provenance: o.provenance,
  };
}

function detailsOf(json: string | null): StateDetails {
  if (json === null) return {};
  try {
    return StateDetails.parse(JSON.parse(json));
  } catch {
    return {};
  }
}

export function pointerView(row: DevicePointerRow): DevicePointer {
  const { url, ref, commit } = row;
  return { url, ref, commit, by: row.created_by, createdAt: time(row.created_at), expiresAt: time(row.expires_at) };
}

export function eventView(row: DeviceEventRow): DeviceEvent {
  return {
    id: row.id,
    type: row.type,
    deviceTime: time(row.device_time),
    receivedAt: time(row.received_at),
    correlationId: row.correlation_id,
    target: row.target,
    success: row.success === null ? null : row.success === 1,
    details: row.details,
  };
}
