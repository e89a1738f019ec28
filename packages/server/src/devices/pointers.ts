import type { AuditLog } from '../access/audit.ts';
import type { Caller } from '../access/caller.ts';
import type { Database, Queryable } from '../database/open.ts';
import { ServerError } from '../errors.ts';
import type { EventLog } from '../events/log.ts';
import { isPointed } from './decisions.ts';
import type { PointRequest } from './schema.ts';
import type { DevicePointerRow } from './tables.ts';

/** What a device is pointed at when nobody says for how long: a working day. */
const DEFAULT_SECONDS = 8 * 3600;

/**
 * Pointers: a device takes its next update from a repository of a developer instead of from its channel, until it is
 * sent back or the time is over. The server names the commit by its checksum, so that what the device fetches is what
 * was meant, whoever answers at the address.
 */
export interface Pointers {
  /** Where a device is pointed, also when the commit failed there; null when it is not, or no longer. */
  find(device: string): Promise<DevicePointerRow | null>;
  /** Where a device should take its update from now; null: from its channel. */
  offered(device: string): Promise<DevicePointerRow | null>;
  /**
   * Points a device somewhere, in place of where it was pointed before.
   *
   * @throws ServerError `not-found`, `conflict` when it was not let in, or the commit failed on it
   */
  point(device: string, wish: PointRequest, caller: Caller): Promise<DevicePointerRow>;
  /** Sends a device back to its channel; false when it was not pointed anywhere. @throws ServerError `not-found` */
  back(device: string, caller: Caller): Promise<boolean>;
}

export function createPointers(deps: {
  db: Database;
  events: EventLog;
  audit: AuditLog;
  now?: () => number;
}): Pointers {
  const { db, events, audit, now = Date.now } = deps;

  const find = async (device: string, on: Queryable = db) => {
    const row = await on.selectFrom('device_pointers').selectAll().where('device_id', '=', device).executeTakeFirst();
    return row !== undefined && row.expires_at > now() ? row : null;
  };
  const failedWith = (on: Queryable, device: string, commit: string) =>
    on
      .selectFrom('device_bad_releases')
      .select('reason')
      .where('device_id', '=', device)
      .where('commit', '=', commit)
      .executeTakeFirst();
  const known = async (on: Queryable, device: string) => {
    const row = await on.selectFrom('devices').select(['id', 'accepted']).where('id', '=', device).executeTakeFirst();
    if (row !== undefined) return row;
    throw new ServerError('not-found', `there is no device "${device}"`, { hint: 'See all with: treeline devices' });
  };

  return {
    find: (device) => find(device),

    async offered(device) {
      const pointer = await find(device);
      if (pointer === null) return null;
      const bad = (await failedWith(db, device, pointer.commit)) !== undefined;
      return isPointed(pointer, { bad, now: now() }) ? pointer : null;
    },

    point: (device, wish, caller) =>
      db.transaction().execute(async (trx) => {
        const { accepted } = await known(trx, device);
        if (accepted === 0) {
          throw new ServerError('conflict', `device "${device}" was not let in yet`, {
            hint: `treeline devices set ${device} --accept`,
          });
        }
        const failed = await failedWith(trx, device, wish.commit);
        if (failed !== undefined) {
          throw new ServerError(
            'conflict',
            `${wish.commit} failed on "${device}": ${failed.reason ?? 'no reason given'}`,
            {
              hint: `Commit what mends it; or to try the same again: treeline devices set ${device} --forgive ${wish.commit}`,
            },
          );
        }
        const { device_id, ...values } = {
          device_id: device,
          url: wish.url,
          ref: wish.ref ?? null,
          commit: wish.commit,
          created_by: caller.name,
          created_at: now(),
          expires_at: now() + (wish.seconds ?? DEFAULT_SECONDS) * 1000,
        };
        await trx
          .insertInto('device_pointers')
          .values({ device_id, ...values })
          .onConflict((conflict) => conflict.column('device_id').doUpdateSet(values))
          .execute();
        const { url, ref, commit } = values;
        const until = new Date(values.expires_at).toISOString();
        await audit.record({ caller, action: 'device.point', subject: device, data: { url, ref, commit, until } }, trx);
        await events.append('device.pointed', { device, url, ref, commit, until, by: caller.name }, trx);
        return { device_id, ...values };
      }),

    back: (device, caller) =>
      db.transaction().execute(async (trx) => {
        await known(trx, device);
        const pointer = await find(device, trx);
        await trx.deleteFrom('device_pointers').where('device_id', '=', device).execute();
        if (pointer === null) return false;
        const { url, commit } = pointer;
        await audit.record({ caller, action: 'device.back', subject: device, data: { url, commit } }, trx);
        await events.append('device.back', { device, url, commit, by: caller.name }, trx);
        return true;
      }),
  };
}
