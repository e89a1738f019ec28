import { promotion } from '@treeline/pipeline';
import type { Core } from '../core.ts';
import { nextNumber } from '../database/counter.ts';
import type { Queryable } from '../database/open.ts';
import { ServerError } from '../errors.ts';
import type { ReleaseRow } from './tables.ts';

export interface ReleaseWish {
  repository: string;
  channel: string;
  commit: string;
  tree: { contents: string; meta: string };
  /** The run that made it; null = by hand, which has the newest run's number and stays when that run ends. */
  run: { id: string; number: number } | null;
  artifact: string | null;
  reason: string;
  /** Compare-and-swap by hand: what the channel must have; null = nothing. */
  expect?: string | null | undefined;
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

/**
 * Decides whether a commit becomes a channel's release, and notes it; the publisher does it then. A run's release
 * that comes too late is noted as abandoned, and one to a channel that cannot be (`robot` beside `robot/edge`) as failed.
 *
 * @throws ServerError `conflict` when `expect` does not hold; its data is {current}. Also, by hand, for a channel that
 *   cannot be beside another one of the repository; without data.
 */
export async function decideRelease(trx: Queryable, core: Core, wish: ReleaseWish): Promise<ReleaseRow> {
  const current = await currentRelease(trx, wish);
  const held = current && {
    commit: current.commit,
    tree: { contents: current.contents, meta: current.meta },
    run: current.run_number,
    byHand: current.run_id === null,
  };
  const run = wish.run?.number ?? Math.max(await newestRun(trx), held?.run ?? 0);
  const decision = promotion(held, {
    commit: wish.commit,
    tree: wish.tree,
    run,
    byHand: wish.run === null,
    ...(wish.expect === undefined ? {} : { expect: wish.expect }),
  });
  if (decision.action === 'conflict') {
    throw new ServerError(
      'conflict',
      `channel ${wish.channel} of ${wish.repository} is at ${decision.holds ?? 'nothing'}, not at ${wish.expect ?? 'nothing'}`,
      {
        hint: 'Somebody else published meanwhile: look at its release, then decide again.',
        data: { current: decision.holds },
      },
    );
  }
  const beside = await conflictingChannel(trx, wish);
  const refused = beside && `channel ${wish.channel} cannot be beside channel ${beside} of ${wish.repository}`;
  if (refused && wish.run === null) {
    throw new ServerError('conflict', refused, {
      hint: 'A ref is a file, so no channel can be the folder of another: publish to a channel of another name.',
    });
  }
  const number = await nextNumber(trx, 'releases');
  const superseded = !refused && decision.action === 'superseded';
  const row: ReleaseRow = {
    id: `release-${number}`,
    number,
    repository: wish.repository,
    channel: wish.channel,
    commit: decision.action === 'confirm' ? decision.commit : wish.commit,
    contents: wish.tree.contents,
    meta: wish.tree.meta,
    previous: current?.commit ?? null,
    // Nobody waits for a run's decision: its refusal is a release that failed.
    state: refused ? 'failed' : superseded ? 'abandoned' : 'publishing',
    run_id: wish.run?.id ?? null,
    run_number: run,
    artifact: wish.artifact,
    reason: wish.reason,
    message: refused ?? (superseded && current ? supersededBy(current) : null),
    created_at: Date.now(),
    published_at: null,
    publication: number,
    expects: null,
  };
  await trx.insertInto('releases').values(row).execute();
  const { id, repository, channel, commit } = row;
  const data = { release: id, repository, channel, commit, run: row.run_id };
  if (row.state !== 'publishing')
    await core.events.append(`release.${row.state}`, { ...data, message: row.message }, trx);
  else if (row.commit !== row.previous) await core.events.append('release.publishing', data, trx);
  // The transaction commits in a moment; a run that waits for an abandoned release must look again.
  setTimeout(() => {
    core.publishing.notify();
    core.runs.notify();
  }, 5).unref();
  return row;
}

/** A channel of the repository that is a folder of the wanted one, or lies below it: refs are files. */
async function conflictingChannel(
  trx: Queryable,
  { repository, channel }: { repository: string; channel: string },
): Promise<string | null> {
  const rows = await trx
    .selectFrom('releases')
    .select('channel')
    .distinct()
    .where('repository', '=', repository)
    .where('state', 'in', ['publishing', 'published'])
    .orderBy('channel')
    .execute();
  const inTheWay = (other: string) => other.startsWith(`${channel}/`) || channel.startsWith(`${other}/`);
  return rows.map((row) => row.channel).find(inTheWay) ?? null;
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
