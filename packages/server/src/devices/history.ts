import type { Queryable } from '../database/open.ts';

/** Deep enough to find something good after a bad week; a device that failed them all needs a person. */
const DEPTH = 100;

/** Commits that a channel has had, newest first. What retention has dropped is left out: it may go any moment. */
export async function channelHistory(db: Queryable, repository: string, channel: string): Promise<string[]> {
  const rows = await db
    .selectFrom('releases')
    .select('commit')
    .where('repository', '=', repository)
    .where('channel', '=', channel)
    .where('state', '=', 'published')
    .where((eb) =>
      eb.not(
        eb.exists(
          eb
            .selectFrom('dropped_commits')
            .select('dropped_commits.commit')
            .whereRef('dropped_commits.repository', '=', 'releases.repository')
            .whereRef('dropped_commits.commit', '=', 'releases.commit'),
        ),
      ),
    )
    .orderBy('number', 'desc')
    .limit(DEPTH)
    .execute();
  return [...new Set(rows.map((row) => row.commit))];
}
