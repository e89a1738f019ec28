import type { Actor } from '../access/audit.ts';
import type { Core } from '../core.ts';
import { ServerError } from '../errors.ts';
import type { ReleaseRow } from './tables.ts';

/** Steps in which a publication can still be given up: nothing of it can be seen yet. */
const REVOCABLE = ['labels', 'closure', 'signatures', 'deltas'] as const;

/**
 * Gives up what is being published, with all that would have become visible together with it.
 *
 * @throws ServerError `conflict` when it is too late
 */
export async function cancelPublication(
  core: Pick<Core, 'db' | 'events' | 'audit' | 'publishing' | 'runs'>,
  release: ReleaseRow,
  by: Actor,
): Promise<void> {
  await core.db.transaction().execute(async (trx) => {
    const message = `cancelled by ${by?.name ?? 'the server'}`;
    const { numUpdatedRows } = await trx
      .updateTable('publications')
      .set({ state: 'abandoned', message, finished_at: Date.now() })
      .where('number', '=', release.publication)
      .where('state', '=', 'publishing')
      .where((eb) => eb.or([eb('step', 'is', null), eb('step', 'in', REVOCABLE)]))
      .executeTakeFirstOrThrow();
    if (numUpdatedRows === 0n) {
      throw new ServerError('conflict', `release ${release.number} is not being published, or is all but there`, {
        hint: 'A release that is there can be taken back: treeline release revert.',
      });
    }
    const rows = await trx
      .updateTable('releases')
      .set({ state: 'abandoned', message })
      .where('publication', '=', release.publication)
      .where('state', '=', 'publishing')
      .returningAll()
      .execute();
    for (const { id, repository, channel, commit, run_id: run } of rows) {
      await core.events.append('release.abandoned', { release: id, repository, channel, commit, run, message }, trx);
    }
    const subject = `${release.repository}:${release.channel}`;
    await core.audit.record({ caller: by, action: 'release.cancel', subject, data: { release: release.id } }, trx);
  });
  core.publishing.notify();
  core.runs.notify();
}
