import type { Checksum } from '@treeline/ostree';
import type { Caller } from '../access/caller.ts';
import type { Core } from '../core.ts';
import type { Queryable } from '../database/open.ts';
import type { RetentionDecision, RetentionFacts } from './decide.ts';
import type { Freed } from './freed.ts';

/** SQLite has a limit on the values of one statement. */
const AT_ONCE = 500;

/** Writes down what a decision has dropped anew, and forgets what is kept again or was gone already. */
export async function noteDecision(
  core: Core,
  repository: string,
  { facts, decision }: { facts: Pick<RetentionFacts, 'now' | 'dropped'>; decision: Pick<RetentionDecision, 'dropped'> },
): Promise<void> {
  const fresh = [...decision.dropped.keys()].filter((commit) => !facts.dropped.has(commit));
  const over = [...facts.dropped.keys()].filter((commit) => !decision.dropped.has(commit));
  if (fresh.length === 0 && over.length === 0) return;
  await core.db.transaction().execute(async (trx) => {
    for (const commits of slices(fresh)) {
      await trx
        .insertInto('dropped_commits')
        .values(commits.map((commit) => ({ repository, commit, dropped_at: facts.now, unlisted_at: null })))
        .onConflict((c) => c.doNothing())
        .execute();
    }
    await forget(trx, repository, over);
    if (fresh.length === 0) return;
    const data = { commits: fresh.slice(0, AT_ONCE), count: fresh.length };
    await core.audit.record({ caller: null, action: 'retention.drop', subject: repository, data }, trx);
  });
}

/** Notes that from now on nothing names these commits. */
export async function noteUnlisted(
  core: Core,
  repository: string,
  { commits, now }: { commits: readonly Checksum[]; now: number },
): Promise<void> {
  for (const some of slices(commits)) {
    await core.db
      .updateTable('dropped_commits')
      .set({ unlisted_at: now })
      .where('repository', '=', repository)
      .where('commit', 'in', some)
      .execute();
  }
}

/** Writes down that a prune is done, and forgets the commits that are gone. */
export async function notePrune(
  core: Core,
  repository: string,
  o: { gone: readonly Checksum[]; freed: Freed; caller: Pick<Caller, 'name' | 'address'> | null; now: number },
): Promise<void> {
  const { gone, freed, caller } = o;
  await core.db.transaction().execute(async (trx) => {
    await forget(trx, repository, gone);
    const row = { repository, finished_at: o.now, objects: freed.objects, bytes: freed.bytes };
    await trx
      .insertInto('prunes')
      .values(row)
      .onConflict((c) => c.column('repository').doUpdateSet(row))
      .execute();
    if (gone.length === 0 && freed.objects === 0 && freed.deltas === 0 && caller === null) return;
    const data = { commits: gone.slice(0, AT_ONCE), count: gone.length, ...freed };
    await core.audit.record({ caller, action: 'retention.prune', subject: repository, data }, trx);
    await core.events.append('repository.pruned', { repository, commits: gone.length, ...freed }, trx);
  });
}

async function forget(db: Queryable, repository: string, commits: readonly Checksum[]): Promise<void> {
  for (const some of slices(commits)) {
    await db.deleteFrom('dropped_commits').where('repository', '=', repository).where('commit', 'in', some).execute();
  }
}

function slices(commits: readonly Checksum[]): Checksum[][] {
  const parts: Checksum[][] = [];
  for (let at = 0; at < commits.length; at += AT_ONCE) parts.push(commits.slice(at, at + AT_ONCE));
  return parts;
}
