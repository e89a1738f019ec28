import { reachable, readCommit } from '@treeline/ostree';
import type { BoardView, BoardWork } from '@treeline/runner';
import type { Core } from '../core.ts';
import type { Registry } from '../devices/index.ts';
import { createToken, hashSecret } from '../devices/tokens.ts';
import { ServerError } from '../errors.ts';
import type { BoardTrial } from '../executions/spec.ts';
import type { ExecutionRow } from '../executions/tables.ts';
import { isLabDevice, LAB_PREFIX } from './id.ts';
import type { LabDeviceRow } from './tables.ts';

/** Devices of board jobs, as far as leases make and end them. */
export interface LabLeases {
  /** Makes the device of a lease, and the token that lets it in. */
  open(execution: ExecutionRow, trial: BoardTrial, o: { seconds: number }): Promise<BoardWork>;
  /** Removes the devices of an execution: its lease has ended. */
  close(executionId: string): Promise<void>;
}

/** Devices of board jobs, as the gateway sees them. */
export interface LabDevices {
  /** The device of a board job; null: it is none, or not any more. */
  find(id: string): Promise<LabDevice | null>;
  /** Whether a token of this secret may let in a device of this id. */
  mayEnrol(secret: string, id: string): Promise<boolean>;
}

/** What the gateway gives to a device of a board job. */
export interface LabDevice {
  id: string;
  /** Commit that it should run. */
  target: string;
  /** Whether an object of the store is of its commits: `objects/ab/cdef….dirtree`, as a URL has it. */
  mayHave(path: string): boolean;
  /** Counts what was sent. */
  count(bytes: number): void;
}

export interface Lab extends LabLeases, LabDevices {
  /** What the server knows of the device of a lease; points it first, if a target is given. */
  look(execution: ExecutionRow, target: string | undefined): Promise<BoardView>;
}

const EVENTS_SHOWN = 200;
const KEPT = 100;

type Allowed = { objects: ReadonlySet<string>; sent: { requests: number; bytes: number } };

export function createLab(deps: {
  core: Core;
  registry: Registry;
  /** The running gateway. */
  gateway: () => { url: string; fingerprint: string } | null;
}): Lab {
  const { core, registry } = deps;
  const { db } = core;
  /** By device id. What is lost with the process is found again in the database and the store. */
  const allowed = new Map<string, Allowed>();

  const row = (id: string) => db.selectFrom('lab_devices').selectAll().where('device_id', '=', id).executeTakeFirst();
  const allowedOf = async (device: LabDeviceRow): Promise<Allowed> => {
    const known = allowed.get(device.device_id);
    if (known) return known;
    const objects = new Set<string>();
    for (const commit of [device.system, device.over]) {
      if (commit === null) continue;
      objects.add(`${commit}.commit`).add(`${commit}.commitmeta`);
      const { tree } = await readCommit(core.store, commit);
      for (const name of reachable(core.store, tree)) objects.add(name);
    }
    if (allowed.size >= KEPT) allowed.delete(allowed.keys().next().value!);
    const made = { objects, sent: { requests: 0, bytes: 0 } };
    allowed.set(device.device_id, made);
    return made;
  };

  const close = async (executionId: string): Promise<void> => {
    const rows = await db.selectFrom('lab_devices').selectAll().where('execution_id', '=', executionId).execute();
    for (const { device_id: id, token_hash: hash } of rows) {
      await registry.remove(id, { name: 'lab', address: null });
      await db.transaction().execute(async (trx) => {
        await trx.deleteFrom('enrolment_tokens').where('hash', '=', hash).execute();
        await trx.deleteFrom('lab_devices').where('device_id', '=', id).execute();
      });
      allowed.delete(id);
    }
  };

  return {
    close,

    async open(execution, trial, { seconds }) {
      const gateway = deps.gateway();
      if (gateway === null) throw new ServerError('unavailable', 'the device gateway is not running');
      await close(execution.id);
      const id = `${LAB_PREFIX}${execution.id}-${execution.token}`;
      const { channel, ...work } = trial;
      const secret = await db.transaction().execute(async (trx) => {
        const made = await createToken(trx, { expiresSeconds: seconds + 3600, channel }, Date.now());
        await trx
          .insertInto('lab_devices')
          .values({
            device_id: id,
            execution_id: execution.id,
            lease: execution.token,
            token_hash: hashSecret(made.secret),
            system: trial.system,
            over: trial.over,
            target: trial.over ?? trial.system,
            created_at: Date.now(),
          })
          .execute();
        const data = { execution: execution.id, system: trial.system, over: trial.over };
        await core.audit.record({ caller: null, action: 'lab-device.create', subject: id, data }, trx);
        return made.secret;
      });
      return { ...work, device: { id, token: `${secret}.${gateway.fingerprint}`, gateway: gateway.url, channel } };
    },

    async find(id) {
      if (!isLabDevice(id)) return null;
      const device = await row(id);
      if (device === undefined) return null;
      const { objects, sent } = await allowedOf(device);
      return {
        id,
        target: device.target,
        mayHave: (path) => {
          const [, start, rest] = /^\/objects\/([0-9a-f]{2})\/([0-9a-f]{62}\.[a-z]+)$/.exec(path) ?? [];
          return start !== undefined && objects.has(`${start}${rest?.replace(/\.filez$/, '.file')}`);
        },
        count: (bytes) => {
          sent.requests += 1;
          sent.bytes += bytes;
        },
      };
    },

    async mayEnrol(secret, id) {
      const hash = hashSecret(secret);
      const owner = await db
        .selectFrom('lab_devices')
        .select('device_id')
        .where('token_hash', '=', hash)
        .executeTakeFirst();
      return owner === undefined ? !isLabDevice(id) : owner.device_id === id;
    },

    async look(execution, target) {
      const device = await db
        .selectFrom('lab_devices')
        .selectAll()
        .where('execution_id', '=', execution.id)
        .where('lease', '=', execution.token)
        .executeTakeFirst();
      if (device === undefined) throw new ServerError('not-found', `execution ${execution.id} has no device`);
      if (target !== undefined && target !== device.target) {
        if (target !== device.system && target !== device.over) {
          throw new ServerError('conflict', `the job of ${execution.id} is not about the commit ${target}`);
        }
        await db.updateTable('lab_devices').set({ target }).where('device_id', '=', device.device_id).execute();
        device.target = target;
      }
      const known = await registry.get(device.device_id);
      const bad = known === null ? [] : await registry.badReleases(known.id);
      const events = known === null ? [] : await registry.recentEvents(known.id, EVENTS_SHOWN);
      return {
        now: Date.now(),
        target: device.target,
        device: known && {
          state: known.state,
          release: known.release,
          from: known.rolled_back_from,
          reason: known.reason,
          current: known.current_commit,
          lastSeen: known.last_seen,
          bad: bad.map(({ commit, reason }) => ({ commit, reason })),
        },
        events: events.reverse().map((event) => ({
          number: event.position,
          type: event.type,
          release: event.target,
          success: event.success === null ? null : event.success === 1,
          details: event.details,
          at: event.received_at,
        })),
        sent: { ...(allowed.get(device.device_id)?.sent ?? { requests: 0, bytes: 0 }) },
      };
    },
  };
}
