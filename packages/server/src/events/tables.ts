export interface EventTable {
  /** Grows by one in commit order (see `database/counter.ts`), so a reader that saw N never misses an id below N. */
  id: number;
  type: string;
  /** JSON object. */
  data: string;
  /** ms since the epoch. */
  created_at: number;
}

export interface CounterTable {
  name: string;
  value: number;
}

export interface EventTables {
  events: EventTable;
  counters: CounterTable;
}
