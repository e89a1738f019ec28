import type { Queryable } from '../database/open.ts';

/** Kept for each device: what it runs and some before that, in case that it goes to and fro. */
const KEPT = 6;
/** A device has the deployment that it runs and the one before; one more for who keeps three. */
const FALLBACKS = 2;

/** Notes that a device was seen running a commit after another one. */
export async function noteRun(
  trx: Queryable,
  { device, commit, since }: { device: string; commit: string; since: number },
): Promise<void> {
  await trx
    .insertInto('device_runs')
    .values({ device_id: device, commit, since })
    .onConflict((conflict) => conflict.columns(['device_id', 'commit']).doUpdateSet({ since }))
    .execute();
  const rows = await trx
    .selectFrom('device_runs')
    .select('commit')
    .where('device_id', '=', device)
    .orderBy('since', 'desc')
    .execute();
  const old = rows.slice(KEPT).map((row) => row.commit);
  if (old.length === 0) return;
  await trx.deleteFrom('device_runs').where('device_id', '=', device).where('commit', 'in', old).execute();
}

/** What a device has, as far as it is known: what it runs, was last offered, and may boot again. */
export interface DeviceHoldings {
  id: string;
  current: string | null;
  offered: string | null;
  before: string[];
}

/**
 * What devices have. What was bad on a device is nothing that it falls back to: it is offered to it never again, and it
 * came back from it.
 */
export async function deviceHoldings(db: Queryable): Promise<DeviceHoldings[]> {
  const devices = await db
    .selectFrom('devices')
    .select(['id', 'current_commit', 'offered_commit'])
    .orderBy('id')
    .execute();
  const runs = await db.selectFrom('device_runs').selectAll().orderBy('since', 'desc').execute();
  const bad = await db.selectFrom('device_bad_releases').select(['device_id', 'commit']).execute();
  const isBad = new Set(bad.map((row) => `${row.device_id} ${row.commit}`));
  const byDevice = Map.groupBy(runs, (row) => row.device_id);
  return devices.map(({ id, current_commit: current, offered_commit: offered }) => ({
    id,
    current,
    offered,
    before: (byDevice.get(id) ?? [])
      .map((row) => row.commit)
      .filter((commit) => commit !== current && !isBad.has(`${id} ${commit}`))
      .slice(0, FALLBACKS),
  }));
}
