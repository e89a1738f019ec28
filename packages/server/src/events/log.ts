import { nextNumber } from '../database/counter.ts';
import type { Database, Queryable } from '../database/open.ts';

/** Something that happened, for people and followers: `run.*`, `job.*`, `release.*`, `device.*`, `project.*`. */
export type TreelineEvent = { id: number; type: string; at: number; data: Record<string, unknown> };

/**
 * The durable event log. `append` writes in the caller's transaction, so an event exists exactly if what it tells
 * happened; `wait` wakes readers in this process.
 */
export interface EventLog {
  /** @param on the transaction that makes it happen; default: one of its own. */
  append(type: string, data: Record<string, unknown>, on?: Queryable): Promise<void>;
  /** Events with an id greater than `id`, oldest first. */
  since(id: number, limit?: number): Promise<TreelineEvent[]>;
  lastId(): Promise<number>;
  /** Resolves after the next append (or a while later: a reader must always look again), and when `signal` aborts. */
  wait(signal?: AbortSignal): Promise<void>;
}

/** Upper bound of a wait: another process on the same PostgreSQL may have appended. */
const LOOK_AGAIN_MS = 2000;

export function createEventLog(db: Database): EventLog {
  const waiting = new Set<() => void>();
  const wake = () => {
    for (const resolve of [...waiting]) resolve();
  };
  return {
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
      // In a transaction the row becomes visible a moment later: readers look again after a tick.
      if (on) setTimeout(wake, 5).unref();
      else wake();
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
    wait(signal) {
      return new Promise<void>((resolve) => {
        const done = () => {
          clearTimeout(timer);
          waiting.delete(done);
          signal?.removeEventListener('abort', done);
          resolve();
        };
        const timer = setTimeout(done, LOOK_AGAIN_MS);
        waiting.add(done);
        if (signal?.aborted) done();
        else signal?.addEventListener('abort', done);
      });
    },
  };
}
