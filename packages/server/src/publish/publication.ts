import { OstreeError, openRepo, type Repo, type Signer } from '@treeline/ostree';
import type { Core } from '../core.ts';
import type { Queryable } from '../database/open.ts';
import { messageOf, ServerError } from '../errors.ts';
import type { Publication } from './queue.ts';
import type { PublishedRepository } from './registry.ts';
import { signerOf } from './signers.ts';
import { doing } from './steps.ts';
import { type PublicationRow, type ReleaseRow, STEPS } from './tables.ts';

/** How far an attempt at a publication has got. */
export interface Attempt {
  /** Whether its refs are being moved: from then on it is not given up for a newer one. */
  final: boolean;
}

/** What a step works with. */
export interface Work {
  core: Core;
  publication: PublicationRow;
  releases: readonly ReleaseRow[];
  repository: PublishedRepository;
  repo: Repo;
  signers: readonly Signer[];
  signal: AbortSignal;
  /** Writes down something about the publication; ends this attempt when it is not wanted any more. */
  note: (values: Partial<PublicationRow>, event?: Record<string, unknown>) => Promise<void>;
  /** Leaves something to be done that nobody waits for but the end of the publisher. */
  linger: (work: Promise<void>) => void;
}

export interface PublishOptions {
  signal: AbortSignal;
  attempt: Attempt;
  checkpoint(step: string): Promise<void>;
  linger: (work: Promise<void>) => void;
}

/**
 * Makes one attempt at a publication: guarantee 2's steps in their order, so that a client that reads at any moment
 * finds everything that it is told of. Settles it when it is done, superseded, or can never be done.
 *
 * @throws whatever may pass: a full disk, a lost mount, a signer that does not answer
 */
export async function publish(core: Core, { row, releases }: Publication, o: PublishOptions): Promise<void> {
  const given = await whyNot(core, releases);
  if (given) return await settle(core, { row, releases }, given);
  if (await isThere(core, releases)) return await settle(core, { row, releases }, PUBLISHED);
  try {
    await doSteps(core, { row, releases }, o);
  } catch (error) {
    if (error instanceof NotWanted) return;
    const message = lastingFailure(error, releases);
    if (message === null || o.signal.aborted) throw error;
    core.log.error({ err: error, publication: row.number }, 'a release cannot be published');
    await settle(core, { row, releases }, { state: 'failed', message });
    return;
  }
  await o.checkpoint('settle');
  await settle(core, { row, releases }, PUBLISHED);
}

const PUBLISHED = { state: 'published', message: null } as const;

async function doSteps(core: Core, { row, releases }: Publication, o: PublishOptions): Promise<void> {
  const why = `${releases[0]?.artifact ?? 'a commit'} is published to it`;
  const repository = await core.repositories.ensure(row.repository, why);
  const signers: Signer[] = [];
  for (const key of repository.settings.signing) signers.push(await signerOf(core.folder.keys, key));
  const work: Work = {
    core,
    publication: row,
    releases,
    repository,
    repo: await openRepo(repository.path),
    signers,
    signal: o.signal,
    note: (values, event) => note(core, row.number, values, event),
    linger: o.linger,
  };
  for (const step of STEPS) {
    await o.checkpoint(step);
    o.signal.throwIfAborted();
    if (step === 'refs') o.attempt.final = true;
    await work.note({ step, progress: null, message: null });
    await doing[step](work);
  }
}

/** Thrown where a publication was cancelled or its repository removed. */
class NotWanted extends ServerError {
  constructor(number: number) {
    super('conflict', `publication ${number} is not wanted any more`);
  }
}

async function note(
  core: Core,
  number: number,
  values: Partial<PublicationRow>,
  event?: Record<string, unknown>,
): Promise<void> {
  const write = async (on: Queryable) => {
    const { numUpdatedRows } = await on
      .updateTable('publications')
      .set(values)
      .where('number', '=', number)
      .where('state', '=', 'publishing')
      .executeTakeFirstOrThrow();
    if (numUpdatedRows === 0n) throw new NotWanted(number);
  };
  if (!event) return await write(core.db);
  await core.db.transaction().execute(async (trx) => {
    await write(trx);
    await core.events.append('release.progress', { release: `release-${number}`, ...event }, trx);
  });
}

interface End {
  state: 'published' | 'abandoned' | 'failed';
  message: string | null;
}

/** Why a publication must not be made as things are now; null when it may. */
async function whyNot(core: Core, releases: readonly ReleaseRow[]): Promise<End | null> {
  for (const release of releases) {
    const head = await headOf(core.db, release);
    if (head && head.number > release.number && head.commit !== release.commit) {
      return { state: 'abandoned', message: `superseded by ${head.id} before it was published` };
    }
    const { expects, channel, repository } = release;
    if (expects === null || expects === (head?.commit ?? 'none')) continue;
    // What was expected had been decided, but did not come about.
    const message = `channel ${channel} of ${repository} is at ${head?.commit ?? 'nothing'}, not at ${expects === 'none' ? 'nothing' : expects}`;
    return { state: 'failed', message };
  }
  return null;
}

/** Whether the channels have these commits already, so that there is nothing to do but to note it. */
async function isThere(core: Core, releases: readonly ReleaseRow[]): Promise<boolean> {
  for (const release of releases) {
    if ((await headOf(core.db, release))?.commit !== release.commit) return false;
  }
  return true;
}

async function headOf(db: Queryable, { repository, channel }: ReleaseRow) {
  const row = await db
    .selectFrom('releases')
    .select(['id', 'number', 'commit'])
    .where('repository', '=', repository)
    .where('channel', '=', channel)
    .where('state', '=', 'published')
    .orderBy('number', 'desc')
    .limit(1)
    .executeTakeFirst();
  return row ?? null;
}

/** What to say of an error that every further try would meet too; null for one that may pass (a full disk, a lost mount). */
function lastingFailure(error: unknown, releases: readonly ReleaseRow[]): string | null {
  if (error instanceof Error && 'code' in error && error.code === 'ENAMETOOLONG') {
    const [{ channel, repository }] = [...releases].sort((a, b) => b.channel.length - a.channel.length) as [ReleaseRow];
    return `channel ${channel} of ${repository}: the name is too long for the file that a ref is; shorten it`;
  }
  if (error instanceof ServerError && error.code === 'unprocessable') {
    return [error.message, error.hint].filter(Boolean).join('. ');
  }
  if (!(error instanceof OstreeError)) return null;
  if (error.code === 'exists') return [error.message, error.hint].filter(Boolean).join('. ');
  // Bytes that are missing or wrong will be so next time.
  return ['not-found', 'corrupt', 'invalid', 'unsupported'].includes(error.code) ? messageOf(error) : null;
}

async function settle(core: Core, { row, releases }: Publication, end: End): Promise<void> {
  const now = Date.now();
  await core.db.transaction().execute(async (trx) => {
    const { numUpdatedRows } = await trx
      .updateTable('publications')
      .set({ ...end, finished_at: now, progress: null, ...(end.state === 'published' ? { step: null } : {}) })
      .where('number', '=', row.number)
      .where('state', '=', 'publishing')
      .executeTakeFirstOrThrow();
    if (numUpdatedRows === 0n) return;
    for (const release of releases) await settleRelease(trx, core, release, { ...end, now });
  });
  core.runs.notify();
  core.publishing.notify();
}

async function settleRelease(
  trx: Queryable,
  core: Core,
  release: ReleaseRow,
  { state, message, now }: End & { now: number },
): Promise<void> {
  const previous = (await headOf(trx, release))?.commit ?? null;
  const published = state === 'published';
  await trx
    .updateTable('releases')
    .set({ state, message, ...(published ? { previous, published_at: now } : {}) })
    .where('id', '=', release.id)
    .where('state', '=', 'publishing')
    .execute();
  const { id, repository, channel, commit } = release;
  const data = { release: id, repository, channel, commit, previous, run: release.run_id, message };
  if (!published || commit !== previous) await core.events.append(`release.${state}`, data, trx);
}
