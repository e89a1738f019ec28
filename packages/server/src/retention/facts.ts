import { type Checksum, listCollectionRefs, listRefs, type Repo } from '@treeline/ostree';
import type { Queryable } from '../database/open.ts';
import { heldCommits } from '../devices/runs.ts';
import type { PublishedRepository } from '../publish/registry.ts';
import type { PinFact, RetentionFacts } from './decide.ts';
import { EVERYWHERE } from './tables.ts';

/** What is known of a published repository now. */
export async function readFacts(
  db: Queryable,
  { name, settings }: PublishedRepository,
  o: { repo: Repo; commits: ReadonlySet<Checksum>; now: number },
): Promise<RetentionFacts> {
  const releases = await db
    .selectFrom('releases')
    .select(['number', 'channel', 'commit', 'previous', 'state', 'published_at'])
    .where('repository', '=', name)
    .where('state', 'in', ['publishing', 'published'])
    .orderBy('number')
    .execute();
  return {
    now: o.now,
    policy: settings.retention,
    deltaSources: settings.deltas.previous,
    commits: o.commits,
    refs: await readRefs(o.repo),
    releases: releases.map(({ number, channel, commit, previous, state, published_at: publishedAt }) => ({
      ...{ number, channel, commit, state, publishedAt },
      confirms: state === 'published' && previous === commit,
    })),
    pins: await readPins(db, name),
    held: await heldCommits(db),
    dropped: await readDropped(db, name),
  };
}

/** All refs of a repository, those of collections and remotes included. */
export async function readRefs(repo: Repo): Promise<Map<string, Checksum>> {
  const refs = new Map(await listRefs(repo));
  for (const { collection, ref, commit } of await listCollectionRefs(repo)) refs.set(`(${collection}, ${ref})`, commit);
  return refs;
}

/** Pins of one repository and those for all. */
async function readPins(db: Queryable, repository: string): Promise<PinFact[]> {
  return await db
    .selectFrom('pins')
    .select(['commit', 'actor', 'reason'])
    .where('repository', 'in', [repository, EVERYWHERE])
    .orderBy('created_at')
    .execute();
}

export async function readDropped(db: Queryable, repository: string): Promise<RetentionFacts['dropped']> {
  const rows = await db.selectFrom('dropped_commits').selectAll().where('repository', '=', repository).execute();
  return new Map(rows.map((row) => [row.commit, { droppedAt: row.dropped_at, unlistedAt: row.unlisted_at }]));
}
