import { nextNumber } from '../database/counter.ts';
import type { Database, Queryable } from '../database/open.ts';
import { createWakeup } from '../wakeup.ts';

/** Something that happened: `run.*`, `job.*`, `release.*`, `device.*`, `project.*`. `at` is ms since the epoch. */
export type TreelineEvent = { id: number; type: string; at: number; data: Record<string, unknown> };

/**
 * The durable event log. `append` writes in the caller's transaction, so an event exists exactly if what it tells
 * happened.
 */
export interface EventLog {
  /** @param on the transaction that makes it happen; default: one of its own. */
  append(type: string, data: Record<string, unknown>, on?: Queryable): Promise<void>;
  /** Events with an id greater than `id`, oldest first. */
  since(id: number, limit?: number): Promise<TreelineEvent[]>;
  lastId(): Promise<number>;
  /** Count of appends in this process; read it before `since`, give it to `wait`. */
  readonly version: number;
  /** Resolves after an append past `version`, a while later at the latest, or when `signal` aborts. */
  wait(version: number, signal?: AbortSignal): Promise<void>;
}

/** Upper bound of a wait: an append in a transaction wakes readers before it is visible to them. */
const LOOK_AGAIN_MS = 1000;

export function createEventLog(db: Database): EventLog {
  const wakeup = createWakeup();
  return {
    get version() {
      return wakeup.version;
    },
    async append(type, data, on) {
      const write = async (trx: Queryable) => {
        const id = await nextNumber(trx, 'events');
        await trx
          .insertInto('events')
          .values({ id, type, data: JSON.stringify(data), created_at: Date.now() })
          .execute();
      };
      if (on) await write(on);
      else await db.transaction().execute(write);
      // The caller's transaction commits in a moment.
      if (on) setTimeout(() => wakeup.notify(), 10).unref();
      else wakeup.notify();
    },
    async since(id, limit = 500) {
      const rows = await db.selectFrom('events').selectAll().where('id', '>', id).orderBy('id').limit(limit).execute();
      return rows.map((row) => ({
        id: row.id,
        type: row.type,
        at: row.created_at,
        data: JSON.parse(row.data) as Record<string, unknown>,
      }));
    },
    async lastId() {
      const row = await db
        .selectFrom('events')
        .select((eb) => eb.fn.max('id').as('id'))
        .executeTakeFirst();
      return row?.id ?? 0;
    },
    wait: (version, signal) => wakeup.past(version, LOOK_AGAIN_MS, signal),
  };
}
