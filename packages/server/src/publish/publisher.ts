import { join } from 'node:path';
import { copyClosure, createRepo, OstreeError, updateSummary, withTransaction } from '@treeline/ostree';
import type { Core } from '../core.ts';
import { messageOf } from '../errors.ts';
import type { ReleaseRow } from './tables.ts';

const LOOK_AGAIN_MS = 10_000;
const AFTER_ERROR_MS = 2000;

/**
 * Publishes what was decided, until the server closes: channel after channel in the order of the decisions, the newest
 * release of a channel first. A channel that cannot be moved now is tried again later; the others go on.
 * Every step may be repeated, so what a crash interrupted simply begins again.
 */
export async function runPublisher(core: Core): Promise<void> {
  while (!core.signal.aborted) {
    const seen = core.publishing.version;
    const wait = await publishAll(core);
    await core.publishing.past(seen, wait, core.signal);
  }
}

/** Publishes what can be published now. Returns after how many milliseconds to look again. */
async function publishAll(core: Core): Promise<number> {
  const held = new Set<string>();
  while (!core.signal.aborted) {
    let next: ReleaseRow | undefined;
    try {
      next = await nextRelease(core, held);
      if (!next) break;
      await publishOne(core, next);
    } catch (error) {
      if (core.signal.aborted) break;
      core.log.error({ err: error, release: next?.id }, 'a release could not be published; it is tried again');
      if (!next) return AFTER_ERROR_MS;
      held.add(channelOf(next));
    }
  }
  return held.size > 0 ? AFTER_ERROR_MS : LOOK_AGAIN_MS;
}

const channelOf = ({ repository, channel }: ReleaseRow): string => `${repository}:${channel}`;

/**
 * The newest waiting release of the channel that waits longest, of those that are not held up. Older ones wait for
 * its end: they are superseded only when it is published, and have their turn when it fails.
 */
async function nextRelease(core: Core, held: ReadonlySet<string>): Promise<ReleaseRow | undefined> {
  const rows = await core.db
    .selectFrom('releases')
    .selectAll()
    .where('state', '=', 'publishing')
    .orderBy('number')
    .execute();
  const waiting = rows.filter((row) => !held.has(channelOf(row)));
  const first = waiting[0];
  return first && waiting.findLast((row) => channelOf(row) === channelOf(first));
}

async function publishOne(core: Core, release: ReleaseRow): Promise<void> {
  const newer = await core.db
    .selectFrom('releases')
    .select(['id', 'commit'])
    .where('repository', '=', release.repository)
    .where('channel', '=', release.channel)
    .where('number', '>', release.number)
    .where('state', '=', 'published')
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
    const message = lastingFailure(error, release);
    if (message === null) throw error;
    core.log.error({ err: error, release: release.id }, 'a release cannot be published');
    await settle(core, release, { state: 'failed', message });
    return;
  }
  await settle(core, release, { state: 'published', message: null });
}

/** What to say of an error that every further try would meet too; null for one that may pass (a full disk, a lost mount). */
function lastingFailure(error: unknown, { repository, channel }: ReleaseRow): string | null {
  if (error instanceof Error && 'code' in error && error.code === 'ENAMETOOLONG') {
    return `channel ${channel} of ${repository}: the name is too long for the file that a ref is; shorten it`;
  }
  if (!(error instanceof OstreeError)) return null;
  if (error.code === 'exists') return [error.message, error.hint].filter(Boolean).join('. ');
  // Bytes that are missing or wrong will be so next time.
  return ['not-found', 'corrupt', 'invalid', 'unsupported'].includes(error.code) ? messageOf(error) : null;
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
