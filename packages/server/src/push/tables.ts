/** A move of a ref of the store that was about to happen. When it is known what became of it, the row goes. */
export interface RefMoveTable {
  id: string;
  ref: string;
  /** What it held; null = nothing. */
  from_commit: string | null;
  to_commit: string;
  forced: number;
  /** Whether detached metadata came that was not there. */
  metadata: number;
  /** Who moves it, as in the audit log. */
  actor: string;
  token: string | null;
  address: string | null;
  created_at: number;
}

export interface PushTables {
  ref_moves: RefMoveTable;
}
