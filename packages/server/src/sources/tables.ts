import type { Selectable } from 'kysely';

export interface ProjectTable {
  name: string;
  url: string;
  /** Branch that is followed. */
  branch: string;
  /** Newest revision that is in the store; null before the first fetch. */
  head: string | null;
  /** Last fetch's error as JSON {code, message, hint?}; null when it went well. */
  error: string | null;
  fetched_at: number | null;
  /** 0 = its first revision starts no run. */
  start_run: number;
  created_at: number;
}

/** A git revision. Its source commit may be gone from the store when nothing needs it; it can be made again, the same. */
export interface RevisionTable {
  project: string;
  revision: string;
  /** Source commit, and its tree. */
  commit: string;
  contents: string;
  meta: string;
  url: string;
  branch: string;
  subject: string;
  /** Text of treeline.yaml at this revision; null when the revision has none. */
  pipeline: string | null;
  created_at: number;
  /** When it was last asked for; that it is the newest of its project, or of a run that goes on, is not counted here. */
  used_at: number;
}

/** What jobs see of a source tree by their `paths`. */
export interface FilteredSourceTable {
  contents: string;
  meta: string;
  commit: string;
  /** When a run needed it last, to the hour. */
  used_at: number;
}

export interface SourceTables {
  projects: ProjectTable;
  revisions: RevisionTable;
  filtered_sources: FilteredSourceTable;
}

export type ProjectRow = Selectable<ProjectTable>;
export type RevisionRow = Selectable<RevisionTable>;
