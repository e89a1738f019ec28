import type { Selectable } from 'kysely';

/** A commit of a repository that nothing keeps any more. It goes when its grace is over; if it is wanted again, the row goes. */
export interface DroppedCommitTable {
  /** A published repository; `STORE` for the private store. */
  repository: string;
  commit: string;
  /** When it was found that nothing keeps it. */
  dropped_at: number;
  /** When nothing named it any more: no ref, no delta index, no summary. The grace counts from here; null = not yet. */
  unlisted_at: number | null;
}

/** Somebody's wish that a commit stays. */
export interface PinTable {
  /** A published repository; `EVERYWHERE`: wherever it is, the private store included. */
  repository: string;
  commit: string;
  /** Who. */
  actor: string;
  reason: string;
  created_at: number;
}

/** The last prune of a repository that deleted what it could. */
export interface PruneTable {
  /** A published repository; `STORE` for the private store. */
  repository: string;
  finished_at: number;
  /** Objects deleted, and the bytes of their files. */
  objects: number;
  bytes: number;
}

/** Not a name that a repository can have. */
export const STORE = '(store)';
/** The repository of a pin that is not for one alone. */
export const EVERYWHERE = '';

export interface RetentionTables {
  dropped_commits: DroppedCommitTable;
  pins: PinTable;
  prunes: PruneTable;
}

export type PinRow = Selectable<PinTable>;
