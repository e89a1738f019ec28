import { randomUUID } from 'node:crypto';
import { type RefMove, readRef } from '@treeline/ostree';
import type { Selectable } from 'kysely';
import type { Caller } from '../access/caller.ts';
import type { Core } from '../core.ts';
import type { RefMoveTable } from './tables.ts';

type Deps = Pick<Core, 'db' | 'audit' | 'events' | 'store'>;
type MoveRow = Selectable<RefMoveTable>;

/**
 * Moves a ref of the store for a push, and writes it down in the audit log and the event log. A ref is a file, so the move
 * cannot be in a transaction of the database: first it is noted what is about to happen and whose wish it is, and the note
 * goes in the transaction that says that it did. Killed in between, `recoverMoves` finds the note.
 */
export async function recordMove(
  core: Deps,
  caller: Pick<Caller, 'name' | 'address' | 'token'>,
  move: RefMove,
  apply: () => Promise<void>,
): Promise<void> {
  const row: MoveRow = {
    id: randomUUID(),
    ref: move.ref,
    from_commit: move.from,
    to_commit: move.to,
    forced: move.forced ? 1 : 0,
    metadata: move.metadata ? 1 : 0,
    actor: caller.name,
    token: caller.token ?? null,
    address: caller.address,
    created_at: Date.now(),
  };
  await core.db.insertInto('ref_moves').values(row).execute();
  try {
    await apply();
  } catch (error) {
    // The ref may have moved before it failed.
    await findOut(core, row).catch(() => {});
    throw error;
  }
  await writeDown(core, row);
}

/** At the start: writes down the moves that happened just before the server was killed. */
export async function recoverMoves(core: Deps): Promise<void> {
  const rows = await core.db.selectFrom('ref_moves').selectAll().orderBy('created_at').execute();
  for (const row of rows) await findOut(core, row);
}

/** Writes a move down if it has happened; one that nobody can tell of any more, as such. */
async function findOut(core: Deps, row: MoveRow): Promise<void> {
  const now = await readRef(core.store, row.ref);
  const later = { noted: new Date(row.created_at).toISOString() };
  if (now === row.to_commit) return await writeDown(core, row, later);
  if (now !== row.from_commit) return await writeDown(core, row, { ...later, uncertain: true });
  await core.db.deleteFrom('ref_moves').where('id', '=', row.id).execute();
}

async function writeDown(core: Deps, row: MoveRow, more: Record<string, unknown> = {}): Promise<void> {
  const { ref, from_commit: from, to_commit: to, actor: name, token, address } = row;
  const data = { commit: to, from, forced: row.forced === 1, ...(row.metadata ? { metadata: true } : {}), ...more };
  await core.db.transaction().execute(async (trx) => {
    const { numDeletedRows } = await trx.deleteFrom('ref_moves').where('id', '=', row.id).executeTakeFirstOrThrow();
    if (numDeletedRows === 0n) return;
    const caller = { name, address, ...(token === null ? {} : { token }) };
    await core.audit.record({ caller, action: 'ref.push', subject: ref, data }, trx);
    if (from !== to) await core.events.append('ref.pushed', { ref, commit: to, from, by: name }, trx);
  });
}
