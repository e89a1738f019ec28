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

/** A git revision whose source commit is in the store. */
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
}

export interface SourceTables {
  projects: ProjectTable;
  revisions: RevisionTable;
}

export type ProjectRow = Selectable<ProjectTable>;
export type RevisionRow = Selectable<RevisionTable>;
