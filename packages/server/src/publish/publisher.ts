import { join } from 'node:path';
import { copyClosure, createRepo, OstreeError, updateSummary, withTransaction } from '@treeline/ostree';
import type { Core } from '../core.ts';
import { messageOf } from '../errors.ts';
import type { ReleaseRow } from './tables.ts';

const LOOK_AGAIN_MS = 10_000;
const AFTER_ERROR_MS = 2000;

/**
 * Publishes what was decided, until the server closes: one release after the other, in the order of the decisions.
 * Every step may be repeated, so what a crash interrupted simply begins again.
 */
export async function runPublisher(core: Core): Promise<void> {
  while (!core.signal.aborted) {
    const seen = core.publishing.version;
    let wait = LOOK_AGAIN_MS;
    try {
      for (let next = await nextRelease(core); next && !core.signal.aborted; next = await nextRelease(core)) {
        await publishOne(core, next);
      }
    } catch (error) {
      if (core.signal.aborted) return;
      wait = AFTER_ERROR_MS;
      core.log.error({ err: error }, 'a release could not be published; it is tried again');
    }
    await core.publishing.past(seen, wait, core.signal);
  }
}

async function nextRelease(core: Core): Promise<ReleaseRow | undefined> {
  return await core.db
    .selectFrom('releases')
    .selectAll()
    .where('state', '=', 'publishing')
    .orderBy('number')
    .limit(1)
    .executeTakeFirst();
}

async function publishOne(core: Core, release: ReleaseRow): Promise<void> {
  const newer = await core.db
    .selectFrom('releases')
    .select(['id', 'commit'])
    .where('repository', '=', release.repository)
    .where('channel', '=', release.channel)
    .where('number', '>', release.number)
    .where('state', 'in', ['publishing', 'published'])
    .orderBy('number', 'desc')
    .limit(1)
    .executeTakeFirst();
  if (newer && newer.commit !== release.commit) {
    await settle(core, release, { state: 'abandoned', message: `superseded by ${newer.id} before it was published` });
    return;
  }
  try {
    await moveChannel(core, release);
  } catch (error) {
    // Bytes that are missing or wrong will be so next time; a full disk or a lost mount may pass.
    const lasting =
      error instanceof OstreeError && ['not-found', 'corrupt', 'invalid', 'unsupported'].includes(error.code);
    if (!lasting) throw error;
    core.log.error({ err: error, release: release.id }, 'a release cannot be published');
    await settle(core, release, { state: 'failed', message: messageOf(error) });
    return;
  }
  await settle(core, release, { state: 'published', message: null });
}

/**
 * Guarantee 2's order: the commit's closure is in the repository before the ref names it, and the summary comes last.
 * A client that reads at any moment finds everything that it is told of.
 */
async function moveChannel(core: Core, release: ReleaseRow): Promise<void> {
  const repo = await createRepo(join(core.folder.repos, release.repository), { mode: 'archive' });
  await copyClosure(core.store, repo, [release.commit], { signal: core.signal });
  await withTransaction(repo, async (tx) => {
    tx.setRef(release.channel, release.commit);
  });
  await updateSummary(repo);
}

async function settle(
  core: Core,
  release: ReleaseRow,
  end: { state: 'published' | 'abandoned' | 'failed'; message: string | null },
): Promise<void> {
  await core.db.transaction().execute(async (trx) => {
    const before = await trx
      .selectFrom('releases')
      .select('commit')
      .where('repository', '=', release.repository)
      .where('channel', '=', release.channel)
      .where('state', '=', 'published')
      .orderBy('number', 'desc')
      .limit(1)
      .executeTakeFirst();
    const previous = before?.commit ?? null;
    const published = end.state === 'published';
    await trx
      .updateTable('releases')
      .set({ ...end, ...(published ? { previous, published_at: Date.now() } : {}) })
      .where('id', '=', release.id)
      .where('state', '=', 'publishing')
      .execute();
    const { id, repository, channel, commit } = release;
    const data = { release: id, repository, channel, commit, previous, run: release.run_id, message: end.message };
    if (!published || commit !== previous) await core.events.append(`release.${end.state}`, data, trx);
  });
  core.runs.notify();
  core.publishing.notify();
}
