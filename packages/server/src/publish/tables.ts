import type { Selectable } from 'kysely';

/**
 * `withdrawn`: it was published, and the repository that it was in is gone since. `abandoned`: given up because
 * something newer came, or by hand.
 */
export type ReleaseState = 'publishing' | 'published' | 'abandoned' | 'failed' | 'withdrawn';

/** A move of a channel to a commit: wanted (`publishing`), done, given up, or impossible. */
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
  /** `number` of the publication that it is part of; null only in rows that no publisher will look at. */
  publication: number | null;
  /** Compare-and-swap by hand: the commit that the channel must have when it is moved; `none` = no release; null = any. */
  expects: string | null;
}

/** What a publication does next, in this order. Each step may be done twice. */
export const STEPS = ['labels', 'closure', 'signatures', 'deltas', 'refs', 'indexes', 'summary'] as const;
export type PublicationStep = (typeof STEPS)[number];

/** One or several releases of a repository that become visible together. */
export interface PublicationTable {
  /** That of its first release. */
  number: number;
  repository: string;
  state: ReleaseState;
  /** The step that it is at; null before the first. */
  step: PublicationStep | null;
  /** JSON {done, total} of the step, where it can be counted. */
  progress: string | null;
  /** Who published by hand; null = a run. */
  actor: string | null;
  reason: string;
  run_id: string | null;
  message: string | null;
  /** JSON `SignatureNote[]`. */
  signatures: string | null;
  /** JSON `DeltaNote[]`. */
  deltas: string | null;
  /** JSON `LabelNote`: which labels its commits have, and which declarations let them pass. */
  labels: string | null;
  created_at: number;
  finished_at: number | null;
}

export interface RepositoryTable {
  name: string;
  /** JSON of what was set; what it lacks has the default of `RepositorySettings`. */
  settings: string;
  /** 1 = what its channels hold must be looked at again (signatures, refs, summary). */
  refresh: number;
  created_at: number;
}

export interface PublishTables {
  repositories: RepositoryTable;
  publications: PublicationTable;
  releases: ReleaseTable;
}

export type ReleaseRow = Selectable<ReleaseTable>;
export type PublicationRow = Selectable<PublicationTable>;
export type RepositoryRow = Selectable<RepositoryTable>;
