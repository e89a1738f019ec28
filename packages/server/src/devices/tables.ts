import type { Selectable } from 'kysely';

export interface EnrolmentTokenTable {
  /** sha256 of the token's secret, hex. The secret itself is shown once and kept nowhere. */
  hash: string;
  created_at: number;
  expires_at: number;
  uses_left: number;
  /** What devices that enrol with it follow; null: the device chooses by what it asks for. */
  channel: string | null;
  repository: string;
}

export interface DeviceTable {
  id: string;
  /** sha256 of the SubjectPublicKeyInfo that its certificates must carry, hex. */
  public_key: string;
  /** 1 once an operator or an enrolment token let it in; 0 = known, gets nothing. */
  accepted: number;
  /** 1 = the next certificate with another key is taken as the device's. */
  key_change_allowed: number;
  /** Token that it enrolled with, so that a repeated request does not use it up twice. */
  token_hash: string | null;
  channel: string | null;
  repository: string;
  hardware_id: string | null;
  /** What it last said of itself: see `DeviceState` in `schema.ts`. */
  state: string;
  reason: string | null;
  /** Release that `state` is about. */
  release: string | null;
  /** Release that it came back from, for `rolled-back`. */
  rolled_back_from: string | null;
  /** Commit that it runs, from its check-in. */
  current_commit: string | null;
  /** Name of the target that it runs, from its check-in. */
  current_target: string | null;
  /** Commit that the gateway last offered to it. */
  offered_commit: string | null;
  last_seen: number | null;
  created_at: number;
  /** Address that its last request came from. */
  address: string | null;
  /** Where it says that it has `release` from, if not from here: the address of a developer's repository. */
  fetched_from: string | null;
  /** JSON: what it said with its state, see `StateDetails` in `schema.ts`. */
  details: string | null;
}

/** Where a device takes its update from instead of from its channel: at most one for each device. */
export interface DevicePointerTable {
  device_id: string;
  /** Address of an OSTree repository, http or https. */
  url: string;
  /** What the commit is called there, if that is known. */
  ref: string | null;
  commit: string;
  /** Name of the caller. */
  created_by: string;
  created_at: number;
  expires_at: number;
}

/** A release that failed on a device: it is never offered to that device again. */
export interface DeviceBadReleaseTable {
  device_id: string;
  commit: string;
  reason: string | null;
  at: number;
}

export interface DeviceEventTable {
  device_id: string;
  /** Made by the device; the same event may arrive many times. */
  id: string;
  /** aktualizr's `eventType.id`. */
  type: string;
  /** The device's clock, ms; its word only. */
  device_time: number;
  received_at: number;
  /** Order of arrival within a device. */
  position: number;
  correlation_id: string | null;
  target: string | null;
  success: number | null;
  details: string | null;
}

/** What the device says it is: `system_info` and its kin, as sent. */
export interface DeviceInventoryTable {
  device_id: string;
  kind: string;
  body: string;
  updated_at: number;
}

/**
 * What a device runs and ran before, from its check-ins: the newest few, so that it is known what it may fall back to.
 * What was bad on it is none of them.
 */
export interface DeviceRunTable {
  device_id: string;
  commit: string;
  /** When it was first seen running it, after another one. */
  since: number;
}

export interface DeviceTables {
  enrolment_tokens: EnrolmentTokenTable;
  devices: DeviceTable;
  device_bad_releases: DeviceBadReleaseTable;
  device_events: DeviceEventTable;
  device_inventory: DeviceInventoryTable;
  device_pointers: DevicePointerTable;
  device_runs: DeviceRunTable;
}

export type DeviceRow = Selectable<DeviceTable>;
export type DeviceEventRow = Selectable<DeviceEventTable>;
export type DevicePointerRow = Selectable<DevicePointerTable>;
export type BadReleaseRow = Selectable<DeviceBadReleaseTable>;
export type EnrolmentTokenRow = Selectable<EnrolmentTokenTable>;
