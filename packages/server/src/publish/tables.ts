import type { Selectable } from 'kysely';

export type ReleaseState = 'publishing' | 'published' | 'abandoned';

/** A move of a channel to a commit: wanted (`publishing`), done, or given up because something newer came. */
export interface ReleaseTable {
  id: string;
  /** Grows with each release: the order in which they were decided. */
  number: number;
  repository: string;
  channel: string;
  commit: string;
  /** Channel's commit before this release was published. */
  previous: string | null;
  state: ReleaseState;
  run_id: string | null;
  /** Run number for compare-and-swap: a release never replaces one with a greater number. By hand: the newest run's. */
  run_number: number;
  /** Artifact that it is, `project/artifact`, when known. */
  artifact: string | null;
  reason: string;
  /** Why it was abandoned. */
  message: string | null;
  created_at: number;
  published_at: number | null;
}

export interface PublishTables {
  releases: ReleaseTable;
}

export type ReleaseRow = Selectable<ReleaseTable>;
