import { randomBytes } from 'node:crypto';
import type { AuditLog } from '../access/audit.ts';
import type { Caller } from '../access/caller.ts';
import type { Database } from '../database/open.ts';
import { ServerError } from '../errors.ts';
import { type DeviceDifference, DifferenceAnswer } from './schema.ts';

/** What was changed on a device by hand: the server notes the question, and the device answers when it next looks. */
export interface Differences {
  /** Asks a device anew. @throws ServerError `not-found` */
  ask(device: string, caller: Caller): Promise<DeviceDifference>;
  /** The last answer, or that there is none yet. */
  read(device: string): Promise<DeviceDifference>;
  /** The question that a device has not answered yet; null: there is none. */
  waiting(device: string): Promise<string | null>;
  /** Takes an answer; one to an older question changes nothing. */
  answer(device: string, answer: DifferenceAnswer): Promise<void>;
}

const time = (at: number | null): string | null => (at === null ? null : new Date(at).toISOString());

export function createDifferences({ db, audit }: { db: Database; audit: AuditLog }): Differences {
  const row = (device: string) =>
    db.selectFrom('device_differences').selectAll().where('device_id', '=', device).executeTakeFirst();

  const read = async (device: string): Promise<DeviceDifference> => {
    const found = await row(device);
    const nothing = { commit: null, changes: [], complete: true };
    if (found === undefined) return { state: 'none', by: null, askedAt: null, answeredAt: null, ...nothing };
    const about = { by: found.asked_by, askedAt: time(found.asked_at), answeredAt: time(found.answered_at) };
    if (found.answer === null) return { state: 'waiting', ...about, ...nothing };
    // Parsed, because one that an older version stored lacks what has become known since.
    const { commit, changes, complete } = DifferenceAnswer.parse(JSON.parse(found.answer));
    return { state: 'answered', ...about, commit, changes, complete };
  };

  return {
    read,
    async ask(device, caller) {
      await db.transaction().execute(async (trx) => {
        const known = await trx.selectFrom('devices').select('id').where('id', '=', device).executeTakeFirst();
        if (known === undefined) {
          throw new ServerError('not-found', `there is no device "${device}"`, {
            hint: 'See all with: treeline devices',
          });
        }
        const values = {
          request: randomBytes(8).toString('hex'),
          asked_by: caller.name,
          asked_at: Date.now(),
          answered_at: null,
          answer: null,
        };
        await trx
          .insertInto('device_differences')
          .values({ device_id: device, ...values })
          .onConflict((conflict) => conflict.column('device_id').doUpdateSet(values))
          .execute();
        await audit.record({ caller, action: 'device.ask-difference', subject: device }, trx);
      });
      return await read(device);
    },
    async waiting(device) {
      const found = await row(device);
      return found === undefined || found.answered_at !== null ? null : found.request;
    },
    async answer(device, answer) {
      await db
        .updateTable('device_differences')
        .set({ answered_at: Date.now(), answer: JSON.stringify(answer).replaceAll('\\u0000', '\\ufffd') })
        .where('device_id', '=', device)
        .where('request', '=', answer.request)
        .execute();
    },
  };
}
