import type { Release } from '../api/schema.ts';
import type { Queryable } from '../database/open.ts';
import type { ReleaseRow } from '../publish/tables.ts';
import { time } from './time.ts';

export interface ReleaseFilter {
  repository?: string | undefined;
  channel?: string | undefined;
  limit: number;
}

/** Releases, newest first; without those that only noted that a channel had the tree already. */
export async function listReleases(db: Queryable, filter: ReleaseFilter): Promise<Release[]> {
  let query = db
    .selectFrom('releases')
    .selectAll()
    .where((eb) => eb.or([eb('previous', 'is', null), eb('previous', '!=', eb.ref('commit'))]))
    .orderBy('number', 'desc')
    .limit(filter.limit);
  if (filter.repository !== undefined) query = query.where('repository', '=', filter.repository);
  if (filter.channel !== undefined) query = query.where('channel', '=', filter.channel);
  const rows = await query.execute();
  const heads = new Map((await channelHeads(db)).map((head) => [`${head.repository}:${head.channel}`, head.commit]));
  const seen = new Set<string>();
  return rows.map((row) => {
    const id = `${row.repository}:${row.channel}`;
    const current = row.state === 'published' && !seen.has(id) && heads.get(id) === row.commit;
    if (current) seen.add(id);
    return releaseView(row, current);
  });
}

export function releaseView(row: ReleaseRow, current: boolean): Release {
  const { id, number, repository, channel, commit, previous, state, artifact, reason, message } = row;
  return {
    ...{ id, number, repository, channel, commit, previous, state, artifact, reason, message },
    runId: row.run_id,
    current,
    createdAt: time(row.created_at),
    publishedAt: time(row.published_at),
  };
}

export interface ChannelHead {
  repository: string;
  channel: string;
  commit: string;
  /** ms */
  publishedAt: number;
}

/** What each channel holds now. */
export async function channelHeads(db: Queryable): Promise<ChannelHead[]> {
  const newest = db
    .selectFrom('releases')
    .select(['repository', 'channel', (eb) => eb.fn.max('number').as('number')])
    .where('state', '=', 'published')
    .groupBy(['repository', 'channel'])
    .as('newest');
  const rows = await db
    .selectFrom('releases')
    .innerJoin(newest, (join) => join.onRef('newest.number', '=', 'releases.number'))
    .selectAll('releases')
    .orderBy('releases.repository')
    .orderBy('releases.channel')
    .execute();
  return rows.map((row) => ({
    repository: row.repository,
    channel: row.channel,
    commit: row.commit,
    publishedAt: row.published_at ?? row.created_at,
  }));
}

/** What a channel holds now; null when nothing was published on it. */
export async function channelHead(
  db: Queryable,
  repository: string,
  channel: string,
): Promise<{ commit: string } | null> {
  const row = await db
    .selectFrom('releases')
    .select('commit')
    .where('repository', '=', repository)
    .where('channel', '=', channel)
    .where('state', '=', 'published')
    .orderBy('number', 'desc')
    .limit(1)
    .executeTakeFirst();
  return row ?? null;
}
