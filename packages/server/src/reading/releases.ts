import type { ExpressionBuilder } from 'kysely';
import type { Publication, Release } from '../api/schema.ts';
import type { Queryable } from '../database/open.ts';
import type { Tables } from '../database/tables.ts';
import type { LabelNote } from '../publish/admissions.ts';
import type { PublicationRow, ReleaseRow } from '../publish/tables.ts';
import { EVERYWHERE } from '../retention/tables.ts';
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
    .where(movesItsChannel)
    .orderBy('number', 'desc')
    .limit(filter.limit);
  if (filter.repository !== undefined) query = query.where('repository', '=', filter.repository);
  if (filter.channel !== undefined) query = query.where('channel', '=', filter.channel);
  return await releaseViews(db, await query.execute());
}

/** Releases as the API shows them, in the order of the rows. */
export async function releaseViews(db: Queryable, rows: readonly ReleaseRow[]): Promise<Release[]> {
  const heads = new Set((await channelHeads(db)).map(({ release }) => release));
  const numbers = [...new Set(rows.map((row) => row.publication).filter((number) => number !== null))];
  const publications = new Map<number, PublicationRow>();
  if (numbers.length > 0) {
    const found = await db.selectFrom('publications').selectAll().where('number', 'in', numbers).execute();
    for (const publication of found) publications.set(publication.number, publication);
  }
  const retention = await retentionOf(
    db,
    rows.map(({ commit }) => commit),
  );
  return rows.map((row) => ({
    ...releaseView(row, heads.has(row.id), publications.get(row.publication ?? -1)),
    ...retention(row),
  }));
}

type RetentionView = Pick<Release, 'pinned' | 'droppedAt'>;

/** What retention has to say of releases of these commits. */
async function retentionOf(db: Queryable, commits: string[]): Promise<(row: ReleaseRow) => RetentionView> {
  if (commits.length === 0) return () => ({ pinned: null, droppedAt: null });
  const pins = await db.selectFrom('pins').selectAll().where('commit', 'in', commits).execute();
  const dropped = await db.selectFrom('dropped_commits').selectAll().where('commit', 'in', commits).execute();
  return ({ repository, commit }) => {
    const pin = pins.find((one) => one.commit === commit && [repository, EVERYWHERE].includes(one.repository));
    const drop = dropped.find((one) => one.commit === commit && one.repository === repository);
    return {
      pinned: pin ? { by: pin.actor, reason: pin.reason } : null,
      droppedAt: drop ? time(drop.dropped_at) : null,
    };
  };
}

function releaseView(
  row: ReleaseRow,
  current: boolean,
  publication: PublicationRow | undefined,
): Omit<Release, keyof RetentionView> {
  const { id, number, repository, channel, commit, previous, state, artifact, reason } = row;
  return {
    ...{ id, number, repository, channel, commit, previous, state, artifact, reason, current },
    // While it waits, the publication knows what for.
    message: row.message ?? publication?.message ?? null,
    runId: row.run_id,
    publication: row.publication,
    step: publication?.step ?? null,
    progress: progressOf(publication),
    by: publication?.actor ?? null,
    createdAt: time(row.created_at),
    publishedAt: time(row.published_at),
  };
}

function progressOf(publication: PublicationRow | undefined): Release['progress'] {
  return publication?.progress ? (JSON.parse(publication.progress) as Release['progress']) : null;
}

/** A publication with its releases. */
export async function publicationView(
  db: Queryable,
  { publication, releases }: { publication: PublicationRow; releases: readonly ReleaseRow[] },
): Promise<Publication> {
  const { number, repository, state, step, message, reason, signatures, deltas } = publication;
  const noted = publication.labels ? (JSON.parse(publication.labels) as LabelNote) : null;
  return {
    ...{ number, repository, state, step, message, reason },
    progress: progressOf(publication),
    by: publication.actor,
    runId: publication.run_id,
    madeRepository: await isMadeFor(db, publication),
    releases: await releaseViews(db, releases),
    signatures: signatures ? (JSON.parse(signatures) as Publication['signatures']) : [],
    deltas: deltas ? (JSON.parse(deltas) as Publication['deltas']) : [],
    labels: noted?.labels ?? [],
    declared: noted?.declared ?? [],
    createdAt: time(publication.created_at),
    finishedAt: time(publication.finished_at),
  };
}

export interface ChannelHead {
  repository: string;
  channel: string;
  commit: string;
  /** Id of the release that brought it. */
  release: string;
  /** ms */
  publishedAt: number;
}

async function isMadeFor(db: Queryable, publication: PublicationRow): Promise<boolean> {
  const row = await db
    .selectFrom('repositories')
    .select('created_at')
    .where('name', '=', publication.repository)
    .executeTakeFirst();
  if (!row) return false;
  return row.created_at >= publication.created_at && row.created_at <= (publication.finished_at ?? row.created_at);
}

/** Not one that only noted that the channel had the tree already: its commit is that of the release before it. */
function movesItsChannel(eb: ExpressionBuilder<Tables, 'releases'>) {
  return eb.or([eb('previous', 'is', null), eb('previous', '!=', eb.ref('commit'))]);
}

/** What each channel holds now, and since when. */
export async function channelHeads(db: Queryable): Promise<ChannelHead[]> {
  const newest = db
    .selectFrom('releases')
    .select(['repository', 'channel', (eb) => eb.fn.max('number').as('number')])
    .where('state', '=', 'published')
    .where(movesItsChannel)
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
    release: row.id,
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
