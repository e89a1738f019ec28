import type { Selectable } from 'kysely';

export type ExecutionState = 'queued' | 'leased' | 'done';
export type ExecutionOutcome = 'passed' | 'failed' | 'infrastructure' | 'cancelled';

/** One attempt series at computing a key. At most one execution per key is not `done` (a partial unique index). */
export interface ExecutionTable {
  id: string;
  key: string;
  kind: 'command' | 'compose' | 'board';
  state: ExecutionState;
  outcome: ExecutionOutcome | null;
  /** Fencing token of the last lease; grows with each lease; 0 = never leased. */
  token: number;
  /** Leases that were lost; the execution fails when it reaches the limit. A restart of the server does not count. */
  lost: number;
  /** ms; a lease not renewed by then is lost. */
  deadline: number | null;
  /** Runner that has the lease or had the last one. */
  runner: string | null;
  /** Which embedded runner process has the lease; null for a runner elsewhere. */
  session: string | null;
  cancel_requested: number;
  /** JSON ExecutionSpec: what to run, and what the result's provenance will say. */
  spec: string;
  /** JSON {reason, message, exitCode?} of a failure. */
  failure: string | null;
  /** JSON string[]: what the runner only emulated (`gpu`, an architecture). */
  emulated: string | null;
  created_at: number;
  started_at: number | null;
  finished_at: number | null;
}

/** Results of keys: the build cache. Only passed executions get here. */
export interface ResultTable {
  key: string;
  execution_id: string;
  /** JSON Record<output, {commit, tree: {contents, meta}}>. */
  outputs: string;
  /** JSON Source[]: every git revision that went into it, transitively. */
  sources: string;
  created_at: number;
  /** When it was made, or a run took it last. */
  used_at: number;
}

/**
 * A result that retention has forgotten: no run takes it any more, and its commits go. That the server made them, and of
 * which names, stays known, since labels depend on it.
 */
export interface ForgottenResultTable {
  key: string;
  /** As in `results`. */
  outputs: string;
  forgotten_at: number;
}

export interface RunnerTable {
  name: string;
  /** JSON RunnerOffer. */
  offer: string;
  embedded: number;
  last_seen: number;
}

export interface ExecutionTables {
  executions: ExecutionTable;
  results: ResultTable;
  forgotten_results: ForgottenResultTable;
  runners: RunnerTable;
}

export type ExecutionRow = Selectable<ExecutionTable>;
export type ResultRow = Selectable<ResultTable>;
