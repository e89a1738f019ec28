import type { RefMove } from '@treeline/ostree';
import type { Caller } from '../access/caller.ts';
import type { Core } from '../core.ts';

/**
 * Moves a ref of the store for a push, and writes it down: in the audit log and the event log, in one transaction that
 * ends after the ref was moved. Killed in between, the ref has moved and nothing says so yet; the sender, who has no
 * answer, pushes again.
 */
export async function recordMove(core: Core, caller: Caller, move: RefMove, apply: () => Promise<void>): Promise<void> {
  const { ref, from, to, forced, metadata } = move;
  const data = { commit: to, from, forced, ...(metadata ? { metadata } : {}) };
  await core.db.transaction().execute(async (trx) => {
    await core.audit.record({ caller, action: 'ref.push', subject: ref, data }, trx);
    if (from !== to) await core.events.append('ref.pushed', { ref, commit: to, from, by: caller.name }, trx);
    await apply();
  });
}
