/** What was changed by hand on a device: at most the last question and its answer. */
export interface DeviceDifferenceTable {
  device_id: string;
  /** Tells apart questions, so that the answer to an older one is not taken for this one's. */
  request: string;
  /** Name of the caller. */
  asked_by: string;
  asked_at: number;
  answered_at: number | null;
  /** JSON DifferenceAnswer. */
  answer: string | null;
}

export interface DifferenceTables {
  device_differences: DeviceDifferenceTable;
}
