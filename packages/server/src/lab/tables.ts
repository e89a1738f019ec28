import type { Selectable } from 'kysely';

/**
 * Devices that boards are for the time of a board job: one for each lease of its execution. They are not of the fleet,
 * get what the job is about from the store, and are gone when the lease is.
 */
export interface LabDeviceTable {
  device_id: string;
  execution_id: string;
  /** Fencing token of the lease. */
  lease: number;
  /** Of the enrolment token that lets this device in, and no other. */
  token_hash: string;
  /** Commits that the device may have, and be pointed at. */
  system: string;
  over: string | null;
  /** What it should run. */
  target: string;
  created_at: number;
}

export interface LabTables {
  lab_devices: LabDeviceTable;
}

export type LabDeviceRow = Selectable<LabDeviceTable>;
