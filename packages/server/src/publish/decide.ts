import { promotion } from '@treeline/pipeline';
import type { Actor } from '../access/audit.ts';
import type { Core } from '../core.ts';
import { nextNumber } from '../database/counter.ts';
import type { Queryable } from '../database/open.ts';
import { ServerError } from '../errors.ts';
import type { PublicationRow, ReleaseRow } from './tables.ts';

/** A commit for a channel. */
export interface WishedRelease {
  channel: string;
  commit: string;
  tree: { contents: string; meta: string };
  artifact: string | null;
  /** The commit that it was made from, for this channel: then it replaces that one, too. */
  reboundFrom?: string;
  /** Compare-and-swap by hand: what the channel must have; null = nothing. */
  expect?: string | null | undefined;
}

export interface PublicationWish {
  repository: string;
  /** What becomes visible together; at least one, each of another channel. */
  items: readonly WishedRelease[];
  /** The run that made it; null = by hand, which has the newest run's number and stays when that run ends. */
  run: { id: string; number: number } | null;
  /** Who publishes by hand. */
  by?: Actor;
  reason: string;
}

/** What was decided: releases in the order of the wish. */
export interface DecidedPublication {
  publication: PublicationRow;
  releases: ReleaseRow[];
}

/**
 * Decides whether commits become the releases of their channels, all or none, and notes it; the publisher does it
 * then. A run's release that comes too late is noted as abandoned, and one to a channel that cannot be (`robot` beside
 * `robot/edge`) as failed.
 *
 * @throws ServerError `conflict` when an `expect` does not hold; its data is {current}. Also, by hand, for a channel
 *   that cannot be beside another one of the repository; without data.
 */
export async function decidePublication(
  trx: Queryable,
  core: Core,
  wish: PublicationWish,
): Promise<DecidedPublication> {
  assertBesideEachOther(wish);
  const releases: ReleaseRow[] = [];
  const channels = await knownChannels(trx, wish.repository);
  for (const item of wish.items) {
    const number = await nextNumber(trx, 'releases');
    const publication = releases[0]?.number ?? number;
    const row = await decideRelease(trx, { wish, item, number, publication, channels });
    releases.push(row);
  }
  const [first] = releases as [ReleaseRow, ...ReleaseRow[]];
  const publication: PublicationRow = {
    number: first.number,
    repository: wish.repository,
    state: first.state,
    step: null,
    progress: null,
    actor: wish.by?.name ?? null,
    reason: wish.reason,
    run_id: wish.run?.id ?? null,
    message: first.message,
    signatures: null,
    deltas: null,
    labels: null,
    created_at: first.created_at,
    finished_at: first.state === 'publishing' ? null : first.created_at,
  };
  await trx.insertInto('publications').values(publication).execute();
  for (const [index, row] of releases.entries()) {
    const item = wish.items[index]!;
    await trx.insertInto('releases').values(row).execute();
    await tell(trx, core, row, { ...wish, item });
  }
  // The transaction commits in a moment; a run that waits for an abandoned release must look again.
  setTimeout(() => {
    core.publishing.notify();
    core.runs.notify();
  }, 5).unref();
  return { publication, releases };
}

async function tell(
  trx: Queryable,
  core: Core,
  row: ReleaseRow,
  { by, run, item }: PublicationWish & { item: WishedRelease },
): Promise<void> {
  const { id, repository, channel, commit } = row;
  const data = { release: id, repository, channel, commit, run: row.run_id };
  if (row.state !== 'publishing') {
    await core.events.append(`release.${row.state}`, { ...data, message: row.message }, trx);
    return;
  }
  if (row.commit === row.previous) return;
  await core.events.append('release.publishing', data, trx);
  const made = item.reboundFrom === undefined ? {} : { reboundFrom: item.reboundFrom };
  const audited = { release: id, commit, previous: row.previous, run: run?.id ?? null, reason: row.reason, ...made };
  const subject = `${repository}:${channel}`;
  await core.audit.record({ caller: by ?? null, action: 'release.publish', subject, data: audited }, trx);
}

async function decideRelease(
  trx: Queryable,
  o: { wish: PublicationWish; item: WishedRelease; number: number; publication: number; channels: readonly string[] },
): Promise<ReleaseRow> {
  const { wish, item, number } = o;
  const { repository } = wish;
  const { channel, expect } = item;
  const current = await currentRelease(trx, { repository, channel });
  const held = current && {
    commit: current.commit,
    tree: { contents: current.contents, meta: current.meta },
    run: current.run_number,
    byHand: current.run_id === null,
  };
  const run = wish.run?.number ?? Math.max(await newestRun(trx), held?.run ?? 0);
  const decision = promotion(held, {
    commit: item.commit,
    tree: item.tree,
    run,
    byHand: wish.run === null,
    ...(expect === undefined ? {} : { expect }),
  });
  if (decision.action === 'conflict') {
    throw new ServerError(
      'conflict',
      `channel ${channel} of ${repository} is at ${decision.holds ?? 'nothing'}, not at ${expect ?? 'nothing'}`,
      {
        hint: 'Somebody else published meanwhile: look at its release, then decide again.',
        data: { current: decision.holds },
      },
    );
  }
  // Refs are files: no channel is a folder of another.
  const beside = o.channels.find((other) => inTheWay(other, channel));
  const refused = beside && `channel ${channel} cannot be beside channel ${beside} of ${repository}`;
  if (refused && wish.run === null) throw new ServerError('conflict', refused, { hint: FOLDER_HINT });
  const superseded = !refused && decision.action === 'superseded';
  return {
    id: `release-${number}`,
    number,
    repository,
    channel,
    // What is there of the same tree may be bound to other refs.
    commit: decision.action === 'confirm' && item.reboundFrom === undefined ? decision.commit : item.commit,
    contents: item.tree.contents,
    meta: item.tree.meta,
    previous: current?.commit ?? null,
    // Nobody waits for a run's decision: its refusal is a release that failed.
    state: refused ? 'failed' : superseded ? 'abandoned' : 'publishing',
    run_id: wish.run?.id ?? null,
    run_number: run,
    artifact: item.artifact,
    reason: wish.reason,
    message: refused ?? (superseded && current ? supersededBy(current) : null),
    created_at: Date.now(),
    published_at: null,
    publication: o.publication,
    expects: expect === undefined ? null : (expect ?? 'none'),
  };
}

const FOLDER_HINT =
  'A ref is a file, so no channel can be the folder of another: publish to a channel of another name.';

function assertBesideEachOther({ items, repository }: PublicationWish): void {
  for (const [index, { channel }] of items.entries()) {
    const other = items.slice(0, index).find((one) => one.channel === channel || inTheWay(one.channel, channel));
    if (!other) continue;
    if (other.channel === channel) throw new ServerError('invalid-request', `channel ${channel} is there twice`);
    const message = `channel ${channel} cannot be beside channel ${other.channel} of ${repository}`;
    throw new ServerError('conflict', message, { hint: FOLDER_HINT });
  }
}

/** The channel's newest release that is published or about to be. */
async function currentRelease(
  db: Queryable,
  { repository, channel }: { repository: string; channel: string },
): Promise<ReleaseRow | null> {
  const row = await db
    .selectFrom('releases')
    .selectAll()
    .where('repository', '=', repository)
    .where('channel', '=', channel)
    .where('state', 'in', ['publishing', 'published'])
    .orderBy('number', 'desc')
    .limit(1)
    .executeTakeFirst();
  return row ?? null;
}

/** Channels of a repository that have a release, or are about to. */
async function knownChannels(trx: Queryable, repository: string): Promise<string[]> {
  const rows = await trx
    .selectFrom('releases')
    .select('channel')
    .distinct()
    .where('repository', '=', repository)
    .where('state', 'in', ['publishing', 'published'])
    .orderBy('channel')
    .execute();
  return rows.map((row) => row.channel);
}

function inTheWay(one: string, other: string): boolean {
  return one.startsWith(`${other}/`) || other.startsWith(`${one}/`);
}

function supersededBy(current: ReleaseRow): string {
  if (current.run_id === null) return `a release by hand is there, decided after this run began: ${current.id}`;
  return `the release of a newer run is there: ${current.run_id}`;
}

async function newestRun(trx: Queryable): Promise<number> {
  const row = await trx
    .selectFrom('runs')
    .select((eb) => eb.fn.max('number').as('number'))
    .executeTakeFirst();
  return row?.number ?? 0;
}
