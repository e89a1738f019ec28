import type { Database } from '../database/open.ts';
import type { EventLog } from '../events/log.ts';
import { releaseFailed } from './decisions.ts';
import { type ReceivedEvent, storableText } from './events.ts';
import { forgetRun } from './runs.ts';
import type { StateReport } from './schema.ts';
import type { DeviceEventRow } from './tables.ts';

/** Events kept per device: what a person scrolls through. A hostile device cannot fill the disk with more. */
const EVENTS_KEPT = 1000;

/** What devices say of themselves. */
export interface Reporting {
  report(id: string, report: StateReport): Promise<void>;
  /** Stores events that are new; returns how many were. */
  addEvents(id: string, events: readonly ReceivedEvent[]): Promise<number>;
  putInventory(id: string, kind: string, body: string): Promise<void>;
  recentEvents(id: string, limit: number): Promise<DeviceEventRow[]>;
  inventory(id: string): Promise<Record<string, string>>;
}

export function createReporting(o: { db: Database; events: EventLog; now: () => number }): Reporting {
  const { db, events, now } = o;
  return {
    async report(id, report) {
      const reason = report.reason == null ? null : storableText(report.reason);
      const bad = releaseFailed(report);
      await db.transaction().execute(async (trx) => {
        const before = await trx
          .selectFrom('devices')
          .select(['state', 'release', 'rolled_back_from'])
          .where('id', '=', id)
          .executeTakeFirst();
        await trx
          .updateTable('devices')
          .set({
            state: report.state,
            reason,
            release: report.release ?? null,
            rolled_back_from: report.from ?? null,
            fetched_from: report.fetchedFrom == null ? null : storableText(report.fetchedFrom, 1024),
            details: report.details == null ? null : storableText(JSON.stringify(report.details), 64 * 1024),
            last_seen: now(),
          })
          .where('id', '=', id)
          .execute();
        if (bad !== null) {
          await trx
            .insertInto('device_bad_releases')
            .values({ device_id: id, commit: bad, reason, at: now() })
            .onConflict((conflict) => conflict.columns(['device_id', 'commit']).doNothing())
            .execute();
          await forgetRun(trx, id, bad);
        }
        // Polling devices say "checking" and "idle" for ever; only news is worth an event.
        const news =
          before?.state !== report.state ||
          before.release !== (report.release ?? null) ||
          before.rolled_back_from !== (report.from ?? null);
        if (news && report.state !== 'checking') {
          const data = { device: id, state: report.state, release: report.release, from: report.from, reason };
          await events.append('device.state', data, trx);
        }
      });
    },

    async addEvents(id, received) {
      if (received.length === 0) return 0;
      return db.transaction().execute(async (trx) => {
        const last = await trx
          .selectFrom('device_events')
          .select((eb) => eb.fn.max('position').as('position'))
          .where('device_id', '=', id)
          .executeTakeFirst();
        let position = last?.position ?? 0;
        const before = position;
        for (const event of received) {
          const result = await trx
            .insertInto('device_events')
            .values({
              device_id: id,
              id: event.id,
              type: event.type,
              device_time: event.deviceTime,
              received_at: now(),
              position: position + 1,
              correlation_id: event.correlationId,
              target: event.target,
              success: event.success === null ? null : Number(event.success),
              details: event.details,
            })
            .onConflict((conflict) => conflict.columns(['device_id', 'id']).doNothing())
            .executeTakeFirst();
          if (Number(result.numInsertedOrUpdatedRows ?? 0) > 0) position += 1;
        }
        await trx
          .deleteFrom('device_events')
          .where('device_id', '=', id)
          .where('position', '<=', position - EVENTS_KEPT)
          .execute();
        return position - before;
      });
    },

    async putInventory(id, kind, body) {
      const row = { device_id: id, kind, body: body.replaceAll('\0', '\uFFFD'), updated_at: now() };
      await db
        .insertInto('device_inventory')
        .values(row)
        .onConflict((conflict) => conflict.columns(['device_id', 'kind']).doUpdateSet(row))
        .execute();
    },

    recentEvents: (id, limit) =>
      db
        .selectFrom('device_events')
        .selectAll()
        .where('device_id', '=', id)
        .orderBy('position', 'desc')
        .limit(limit)
        .execute(),
    async inventory(id) {
      const rows = await db
        .selectFrom('device_inventory')
        .select(['kind', 'body'])
        .where('device_id', '=', id)
        .orderBy('kind')
        .execute();
      return Object.fromEntries(rows.map((row) => [row.kind, row.body]));
    },
  };
}
