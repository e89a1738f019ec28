import type { Selectable } from 'kysely';

export type ReleaseState = 'publishing' | 'published' | 'abandoned' | 'failed';

/** A move of a channel to a commit: wanted (`publishing`), done, given up because something newer came, or impossible. */
export interface ReleaseTable {
  id: string;
  /** Grows with each release: the order in which they were decided. */
  number: number;
  repository: string;
  channel: string;
  commit: string;
  /** Its tree: equal trees need no new commit on the channel. */
  contents: string;
  meta: string;
  /** Channel's commit before; equal to `commit` when the channel had it already and only the run is noted. */
  previous: string | null;
  state: ReleaseState;
  run_id: string | null;
  /** Run number for compare-and-swap: a release never replaces one with a greater number. By hand (no run_id): the newest run's. */
  run_number: number;
  /** Artifact that it is, `project/artifact`, when known. */
  artifact: string | null;
  reason: string;
  /** Why it was abandoned or failed. */
  message: string | null;
  created_at: number;
  published_at: number | null;
}

export interface RepositoryTable {
  name: string;
  /** JSON `RepositorySettings`; what it lacks has the default. */
  settings: string;
  created_at: number;
}

export interface PublishTables {
  repositories: RepositoryTable;
  releases: ReleaseTable;
}

export type ReleaseRow = Selectable<ReleaseTable>;
