import type { Queryable } from '../database/open.ts';

/** Deep enough to find something good after a bad week; a device that failed them all needs a person. */
const DEPTH = 100;

/** Commits that a channel has had, newest first. */
export async function channelHistory(db: Queryable, repository: string, channel: string): Promise<string[]> {
  const rows = await db
    .selectFrom('releases')
    .select('commit')
    .where('repository', '=', repository)
    .where('channel', '=', channel)
    .where('state', '=', 'published')
    .orderBy('number', 'desc')
    .limit(DEPTH)
    .execute();
  return [...new Set(rows.map((row) => row.commit))];
}
