import type { Selectable } from 'kysely';

export type RunState = 'running' | 'passed' | 'failed' | 'cancelled' | 'superseded';

export interface RunTable {
  id: string;
  /** Grows with each run: the order in which runs may move a channel. */
  number: number;
  state: RunState;
  /** What started it, for people: "push to app", or the text given by hand. */
  reason: string;
  /** The push that started it; all null for a run by hand. */
  trigger_project: string | null;
  trigger_branch: string | null;
  trigger_revision: string | null;
  /** JSON {code, message, hint?, diagnostics} when the run could not be planned. */
  error: string | null;
  created_at: number;
  finished_at: number | null;
}

/** The manifest: which revision of every project the run is about. */
export interface RunManifestTable {
  run_id: string;
  project: string;
  revision: string;
}

export type RunJobState = 'blocked' | 'queued' | 'running' | 'passed' | 'failed' | 'skipped' | 'cancelled';

export interface RunJobTable {
  run_id: string;
  /** `project/job`. */
  job: string;
  kind: 'command' | 'compose' | 'board';
  /** Place in the graph's topological order. */
  position: number;
  state: RunJobState;
  /** 1 when the result was there already. */
  reused: number;
  /** Cache key, once the inputs are known. */
  key: string | null;
  /** JSON KeyDocument that the key is of. */
  document: string | null;
  /** JSON KeyDifference[] against the job's last run with another key. */
  why: string | null;
  execution_id: string | null;
  /** JSON string[]: jobs it waits for. */
  blocked_on: string | null;
  /** JSON {reason, message, exitCode?}. */
  failure: string | null;
  started_at: number | null;
  finished_at: number | null;
}

export interface RunTables {
  runs: RunTable;
  run_manifests: RunManifestTable;
  run_jobs: RunJobTable;
}

export type RunRow = Selectable<RunTable>;
export type RunJobRow = Selectable<RunJobTable>;
