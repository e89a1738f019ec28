import { nextNumber } from '../database/counter.ts';
import type { Database, Queryable } from '../database/open.ts';
import type { Caller } from './caller.ts';

/** Who made a change: null = the server by itself (a run that publishes, retention). */
export type Actor = Pick<Caller, 'name' | 'address' | 'token'> | null;

/** One change, and who made it. */
export interface AuditEntry {
  caller: Actor;
  /** What was done, `<thing>.<verb>`: `release.publish`, `token.create`, `label.set` … */
  action: string;
  /** To what: `public:robot/edge`, a commit, a device. */
  subject: string;
  /** What else there is to know. No secrets. */
  data?: Record<string, unknown>;
}

/** The audit log: every change with who, what, from where and when. Nothing in it is changed or deleted. */
export interface AuditLog {
  /** @param on the transaction that makes the change; default: one of its own. */
  record(entry: AuditEntry, on?: Queryable): Promise<void>;
}

export function createAuditLog(db: Database, now: () => number = Date.now): AuditLog {
  return {
    async record({ caller, action, subject, data = {} }, on) {
      const write = async (trx: Queryable) => {
        const row = {
          id: await nextNumber(trx, 'audit'),
          actor: caller?.name ?? 'server',
          token: caller?.token ?? null,
          address: caller?.address ?? null,
          action,
          subject,
          data: JSON.stringify(data),
          created_at: now(),
        };
        await trx.insertInto('audit').values(row).execute();
      };
      if (on) await write(on);
      else await db.transaction().execute(write);
    },
  };
}
