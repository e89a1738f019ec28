import type { Queryable } from '../database/open.ts';

/** Kept for each device: a device has the deployment that it runs and the one before; one more for who keeps three. */
const KEPT = 3;

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
  for (const { commit: old } of rows.slice(KEPT)) await forgetRun(trx, device, old);
}

/** Notes that a commit was bad on a device: it came back from it, and is never offered it again. */
export async function forgetRun(trx: Queryable, device: string, commit: string): Promise<void> {
  await trx.deleteFrom('device_runs').where('device_id', '=', device).where('commit', '=', commit).execute();
}

/** What devices do with a commit: they run it, may be fetching it, may boot it again. */
export interface HeldCommit {
  commit: string;
  as: 'running' | 'offered' | 'fallback';
  devices: number;
  /** One of them; null where it would cost too much to say. */
  one: string | null;
}

/**
 * The commits that devices have, as far as it is known: what they run, what they were last offered, and what they ran
 * before that. Counted from indexes alone, as there may be very many devices.
 */
export async function heldCommits(db: Queryable): Promise<HeldCommit[]> {
  const running = await db
    .selectFrom('devices')
    .select((eb) => ['current_commit as commit', eb.fn.countAll<number>().as('devices'), eb.fn.min('id').as('one')])
    .where('current_commit', 'is not', null)
    .groupBy('current_commit')
    .orderBy('current_commit')
    .execute();
  const offered = await db
    .selectFrom('devices')
    .select((eb) => ['offered_commit as commit', eb.fn.countAll<number>().as('devices'), eb.fn.min('id').as('one')])
    .where('offered_commit', 'is not', null)
    .where((eb) => eb.or([eb('current_commit', 'is', null), eb('current_commit', '!=', eb.ref('offered_commit'))]))
    .groupBy('offered_commit')
    .orderBy('offered_commit')
    .execute();
  const ran = await db
    .selectFrom('device_runs')
    .select((eb) => ['commit', eb.fn.countAll<number>().as('devices')])
    .groupBy('commit')
    .orderBy('commit')
    .execute();
  const runningNow = new Map(running.map(({ commit, devices }) => [commit, Number(devices)]));
  const held: HeldCommit[] = [];
  for (const { commit, devices, one } of running) {
    held.push({ commit: commit!, as: 'running', devices: Number(devices), one });
  }
  for (const { commit, devices, one } of offered) {
    held.push({ commit: commit!, as: 'offered', devices: Number(devices), one });
  }
  for (const { commit, devices } of ran) {
    // Who runs it now has a row, too.
    const before = Number(devices) - (runningNow.get(commit) ?? 0);
    if (before > 0) held.push({ commit, as: 'fallback', devices: before, one: null });
  }
  return held;
}
