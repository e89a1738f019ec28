import { hasObject, openRepo } from '@treeline/ostree';
import type { Caller } from '../access/caller.ts';
import type { Core } from '../core.ts';
import type { Queryable } from '../database/open.ts';
import { ServerError } from '../errors.ts';
import { EVERYWHERE, type PinRow } from './tables.ts';

type Actor = Pick<Caller, 'name' | 'address'>;

/** A commit in a repository, or (null) wherever it is. */
export interface PinPlace {
  commit: string;
  repository: string | null;
}

const rowOf = ({ repository }: PinPlace) => repository ?? EVERYWHERE;
const shown = ({ commit, repository }: PinPlace) => (repository === null ? commit : `${repository}:${commit}`);

/** Pins, newest first. */
export async function listPins(db: Queryable, repository?: string): Promise<PinRow[]> {
  let query = db.selectFrom('pins').selectAll().orderBy('created_at', 'desc').orderBy('commit');
  if (repository !== undefined) query = query.where('repository', 'in', [repository, EVERYWHERE]);
  return await query.execute();
}

/**
 * Pins a commit: retention keeps it until it is unpinned. Pinned again it has the new reason.
 *
 * @throws ServerError `not-found` when there is no such repository, or the commit is not in it.
 */
export async function pin(core: Core, place: PinPlace, o: { reason: string; by: Actor }): Promise<PinRow> {
  const { commit, repository } = place;
  const repo = repository === null ? core.store : await openRepo(findRepository(core, repository).path);
  if (!hasObject(repo, 'commit', commit)) {
    throw new ServerError('not-found', `${repository ?? 'the store'} has no commit ${commit}`, {
      hint: 'Publish it there first, or pin it wherever it is, by leaving out the repository.',
    });
  }
  const row: PinRow = {
    repository: rowOf(place),
    commit,
    actor: o.by.name,
    reason: o.reason,
    created_at: Date.now(),
  };
  await core.db.transaction().execute(async (trx) => {
    await trx
      .insertInto('pins')
      .values(row)
      .onConflict((c) => c.columns(['repository', 'commit']).doUpdateSet(row))
      .execute();
    await core.audit.record(
      { caller: o.by, action: 'pin.add', subject: shown(place), data: { reason: o.reason } },
      trx,
    );
  });
  return row;
}

/** @throws ServerError `not-found` when it is not pinned there. */
export async function unpin(core: Core, place: PinPlace, by: Actor): Promise<void> {
  await core.db.transaction().execute(async (trx) => {
    const { numDeletedRows } = await trx
      .deleteFrom('pins')
      .where('repository', '=', rowOf(place))
      .where('commit', '=', place.commit)
      .executeTakeFirstOrThrow();
    if (Number(numDeletedRows) === 0) throw await notPinned(trx, place);
    await core.audit.record({ caller: by, action: 'pin.remove', subject: shown(place) }, trx);
  });
}

async function notPinned(db: Queryable, { commit, repository }: PinPlace): Promise<ServerError> {
  const others = await db.selectFrom('pins').select('repository').where('commit', '=', commit).execute();
  const where = others.map((row) => (row.repository === EVERYWHERE ? 'everywhere' : row.repository)).join(', ');
  return new ServerError('not-found', `${commit} is not pinned${repository === null ? '' : ` in ${repository}`}`, {
    hint: where === '' ? 'Those that are: treeline pin' : `It is pinned ${where}.`,
  });
}

export function findRepository(core: Core, name: string) {
  const found = core.repositories.find(name);
  if (found) return found;
  throw new ServerError('not-found', `there is no repository "${name}"`, {
    hint: 'Those that there are: treeline repository list',
  });
}
