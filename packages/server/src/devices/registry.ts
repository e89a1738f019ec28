import type { Actor, AuditLog } from '../access/audit.ts';
import type { Database, Queryable } from '../database/open.ts';
import type { EventLog } from '../events/log.ts';
import { decideAdmission, decideEnrolment, decideOffer, type Refusal, type UnknownDevicePolicy } from './decisions.ts';
import { storableText } from './events.ts';
import { channelHistory } from './history.ts';
import { createReporting, type Reporting } from './reporting.ts';
import { noteRun } from './runs.ts';
import type { DevicePatch } from './schema.ts';
import type { BadReleaseRow, DeviceRow } from './tables.ts';
import { createToken, hashSecret, type MadeToken, type NewToken } from './tokens.ts';

/** Where the registry learns what a channel's release is. */
export interface ReleaseSource {
  current(repository: string, channel: string): Promise<{ commit: string } | null>;
}

export interface RegistryDeps {
  db: Database;
  events: EventLog;
  audit: AuditLog;
  releases: ReleaseSource;
  now?: () => number;
}

export interface CheckIn {
  target?: string | undefined;
  commit?: string | undefined;
  /** Where the request came from. */
  address?: string | undefined;
}

const DEFAULT_REPOSITORY = 'public';

export interface Registry extends Reporting {
  createToken(o: NewToken, by: Actor): Promise<MadeToken>;
  /** Lets a device in by the secret of an enrolment token. */
  enrol(o: {
    secret: string;
    id: string;
    publicKey: string;
    hardwareId?: string | undefined;
    /** Where the request came from. */
    address?: string | undefined;
  }): Promise<Refusal | { device: DeviceRow }>;
  /** The device that a valid certificate proves; made by policy if it is unknown. */
  admit(o: { id: string; publicKey: string; policy: UnknownDevicePolicy }): Promise<Refusal | { device: DeviceRow }>;
  /** Notes that the device was here, and what it runs. */
  checkIn(id: string, seen: CheckIn): Promise<void>;
  /** Commit that the device should run from a channel, or null. */
  offer(device: DeviceRow, channel: string): Promise<string | null>;
  noteOffer(id: string, commit: string): Promise<void>;
  list(): Promise<DeviceRow[]>;
  get(id: string): Promise<DeviceRow | null>;
  badReleases(id?: string): Promise<BadReleaseRow[]>;
  patch(id: string, patch: DevicePatch, by: Actor): Promise<boolean>;
  remove(id: string, by: Actor): Promise<boolean>;
}

/** Devices, their enrolment and their reports, in SQL. What to decide is in `decisions.ts`. */
export function createRegistry({ db, events, audit, releases, now = Date.now }: RegistryDeps): Registry {
  const find = (on: Queryable, id: string) =>
    on.selectFrom('devices').selectAll().where('id', '=', id).executeTakeFirst();
  const badOf = (on: Queryable, id: string) =>
    on.selectFrom('device_bad_releases').selectAll().where('device_id', '=', id).orderBy('at').execute();

  const write = async (on: Queryable, id: string, values: Partial<DeviceRow>) => {
    await on.updateTable('devices').set(values).where('id', '=', id).execute();
  };

  return {
    ...createReporting({ db, events, now }),
    createToken: (o, by) =>
      db.transaction().execute(async (trx) => {
        const made = await createToken(trx, o, now());
        const { channel, repository, uses, expiresAt } = made;
        const entry = { caller: by, action: 'enrolment-token.create', subject: channel ?? 'any channel' };
        await audit.record({ ...entry, data: { repository, uses, expiresAt } }, trx);
        return made;
      }),

    enrol: (o) =>
      db.transaction().execute(async (trx) => {
        const hash = hashSecret(o.secret);
        const token = await trx.selectFrom('enrolment_tokens').selectAll().where('hash', '=', hash).executeTakeFirst();
        const known = await find(trx, o.id);
        const decision = decideEnrolment({ token, device: known, publicKey: o.publicKey, now: now() });
        if ('refused' in decision || token === undefined) return 'refused' in decision ? decision : refusedToken;
        if (decision.use > 0) {
          // Counted in the statement itself: two devices at the same moment must not share the last use.
          const used = await trx
            .updateTable('enrolment_tokens')
            .set((eb) => ({ uses_left: eb('uses_left', '-', decision.use) }))
            .where('hash', '=', hash)
            .where('uses_left', '>', 0)
            .executeTakeFirst();
          if (Number(used.numUpdatedRows) === 0) return refusedToken;
        }
        const device: DeviceRow = {
          ...(known ?? blank(o.id, now())),
          public_key: o.publicKey,
          accepted: 1,
          key_change_allowed: 0,
          token_hash: hash,
          channel: token.channel ?? known?.channel ?? null,
          repository: token.repository,
          hardware_id: o.hardwareId ?? known?.hardware_id ?? null,
        };
        await upsert(trx, device);
        if (decision.use > 0) {
          await events.append('device.enrolled', { device: o.id, channel: device.channel }, trx);
          const data = { channel: device.channel, repository: device.repository };
          const caller = { name: 'enrolment token', address: o.address ?? null };
          await audit.record({ caller, action: 'device.enrol', subject: o.id, data }, trx);
        }
        return { device };
      }),

    async admit(o) {
      const known = await find(db, o.id);
      const decision = decideAdmission({ device: known, publicKey: o.publicKey, policy: o.policy });
      if (decision === 'known' && known !== undefined) return { device: known };
      if (typeof decision === 'object') return decision;
      return db.transaction().execute(async (trx) => {
        const accepted = decision === 'create-pending' ? 0 : 1;
        const device: DeviceRow =
          known === undefined
            ? { ...blank(o.id, now()), public_key: o.publicKey, accepted }
            : { ...known, public_key: o.publicKey, key_change_allowed: 0 };
        if (known === undefined) {
          // Several of its requests arrive at once: the first makes the row.
          await trx
            .insertInto('devices')
            .values(device)
            .onConflict((conflict) => conflict.column('id').doNothing())
            .execute();
        } else {
          await write(trx, o.id, { public_key: o.publicKey, key_change_allowed: 0 });
        }
        const type = known === undefined ? 'device.created' : 'device.key-changed';
        const accepts = { accepted: device.accepted === 1 };
        await events.append(type, { device: o.id, ...accepts }, trx);
        const action = known === undefined ? 'device.create' : 'device.change-key';
        await audit.record({ caller: null, action, subject: o.id, data: accepts }, trx);
        return { device };
      });
    },

    async checkIn(id, seen) {
      const values = {
        last_seen: now(),
        ...(seen.commit === undefined ? {} : { current_commit: seen.commit }),
        ...(seen.target === undefined ? {} : { current_target: storableText(seen.target, 256) }),
        ...(seen.address === undefined ? {} : { address: seen.address }),
      };
      const before = seen.commit === undefined ? undefined : await find(db, id);
      if (seen.commit === undefined || before?.current_commit === seen.commit) return write(db, id, values);
      const { commit } = seen;
      await db.transaction().execute(async (trx) => {
        await noteRun(trx, { device: id, commit, since: now() });
        await write(trx, id, values);
      });
    },

    async offer(device, channel) {
      const current = await releases.current(device.repository, channel);
      const bad = new Set((await badOf(db, device.id)).map((row) => row.commit));
      const history =
        current !== null && bad.has(current.commit) ? await channelHistory(db, device.repository, channel) : [];
      return decideOffer({ current: current?.commit ?? null, history, bad, running: device.current_commit });
    },

    async noteOffer(id, commit) {
      await write(db, id, { offered_commit: commit });
    },

    list: () => db.selectFrom('devices').selectAll().orderBy('id').execute(),
    get: async (id) => (await find(db, id)) ?? null,
    badReleases: (id) =>
      id === undefined ? db.selectFrom('device_bad_releases').selectAll().orderBy('at').execute() : badOf(db, id),
    patch: (id, patch, by) =>
      db.transaction().execute(async (trx) => {
        if ((await find(trx, id)) === undefined) return false;
        const values: Partial<DeviceRow> = {
          ...(patch.accepted === undefined ? {} : { accepted: Number(patch.accepted) }),
          ...(patch.channel === undefined ? {} : { channel: patch.channel }),
          ...(patch.repository === undefined ? {} : { repository: patch.repository }),
          ...(patch.allowKeyChange === undefined ? {} : { key_change_allowed: Number(patch.allowKeyChange) }),
        };
        if (Object.keys(values).length > 0) await write(trx, id, values);
        for (const commit of patch.forgive ?? []) {
          await trx
            .deleteFrom('device_bad_releases')
            .where('device_id', '=', id)
            .where('commit', '=', commit)
            .execute();
        }
        await events.append('device.changed', { device: id, ...patch }, trx);
        await audit.record({ caller: by, action: 'device.change', subject: id, data: { ...patch } }, trx);
        return true;
      }),

    remove: (id, by) =>
      db.transaction().execute(async (trx) => {
        for (const table of [
          'device_pointers',
          'device_differences',
          'device_bad_releases',
          'device_events',
          'device_inventory',
          'device_runs',
        ] as const) {
          await trx.deleteFrom(table).where('device_id', '=', id).execute();
        }
        const gone = await trx.deleteFrom('devices').where('id', '=', id).executeTakeFirst();
        if (Number(gone.numDeletedRows) === 0) return false;
        await events.append('device.removed', { device: id }, trx);
        await audit.record({ caller: by, action: 'device.remove', subject: id }, trx);
        return true;
      }),
  };
}

const refusedToken: Refusal = { refused: 'token-invalid' };

function blank(id: string, now: number): DeviceRow {
  return {
    id,
    public_key: '',
    accepted: 0,
    key_change_allowed: 0,
    token_hash: null,
    channel: null,
    repository: DEFAULT_REPOSITORY,
    hardware_id: null,
    state: '',
    reason: null,
    release: null,
    rolled_back_from: null,
    current_commit: null,
    current_target: null,
    offered_commit: null,
    last_seen: null,
    created_at: now,
    address: null,
    fetched_from: null,
    details: null,
  };
}

async function upsert(on: Queryable, device: DeviceRow): Promise<void> {
  const { id: _, ...values } = device;
  await on
    .insertInto('devices')
    .values(device)
    .onConflict((conflict) => conflict.column('id').doUpdateSet(values))
    .execute();
}
