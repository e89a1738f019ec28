import {
  encode,
  hasDelta,
  hasObject,
  isRetiredDelta,
  OstreeError,
  type Repo,
  readDetachedMetadata,
  readSuperblock,
  retireDelta,
} from '@treeline/ostree';
import type { Core } from '../core.ts';
import type { Queryable } from '../database/open.ts';
import { messageOf } from '../errors.ts';
import { generateElsewhere } from './delta-process.ts';
import type { Work } from './publication.ts';
import type { RepositorySettings } from './repository-settings.ts';
import type { ReleaseRow } from './tables.ts';

/** A static delta that a release has, or should have had. */
export interface DeltaNote {
  from: string;
  to: string;
  /** `there`: it had been made before. `failed`: the release does without. */
  state: 'made' | 'there' | 'failed';
  /** Of superblock and parts; null when it was there or failed. */
  bytes: number | null;
  message: string | null;
}

/**
 * Makes the static deltas of a publication's releases: from the releases before and from what devices run. One that
 * cannot be made is noted, and the release does without.
 */
export async function makeDeltas({ core, repo, repository, releases, signal, note }: Work): Promise<void> {
  const wanted = new Map<string, { from: string; to: string }>();
  for (const release of releases) {
    for (const from of await deltaSources(core, repo, release, repository.settings)) {
      wanted.set(`${from}-${release.commit}`, { from, to: release.commit });
    }
  }
  const total = wanted.size;
  if (total === 0) return;
  const notes: DeltaNote[] = [];
  for (const delta of wanted.values()) {
    const progress = { done: notes.length, total };
    await note({ progress: JSON.stringify(progress) }, { step: 'deltas', ...progress });
    notes.push(await makeDelta(core, repo, delta, signal));
    await note({ deltas: JSON.stringify(notes) });
  }
}

/** The static deltas that a publication has, made by it or before. */
export async function madeDeltas(db: Queryable, publication: number): Promise<{ from: string; to: string }[]> {
  const row = await db
    .selectFrom('publications')
    .select('deltas')
    .where('number', '=', publication)
    .executeTakeFirstOrThrow();
  const notes = JSON.parse(row.deltas ?? '[]') as DeltaNote[];
  return notes.filter(({ state }) => state !== 'failed').map(({ from, to }) => ({ from, to }));
}

async function makeDelta(
  core: Core,
  repo: Repo,
  delta: { from: string; to: string },
  signal: AbortSignal,
): Promise<DeltaNote> {
  if (await isCurrent(repo, delta)) {
    // Retention may have retired it, when nothing kept one of its ends.
    if (isRetiredDelta(repo, delta)) await retireDelta(repo, delta, false);
    return { ...delta, state: 'there', bytes: null, message: null };
  }
  try {
    const bytes = await generateElsewhere(repo.path, delta, signal);
    return { ...delta, state: 'made', bytes, message: null };
  } catch (error) {
    signal.throwIfAborted();
    core.log.warn({ err: error, repository: repo.path, ...delta }, 'a static delta could not be made');
    return { ...delta, state: 'failed', bytes: null, message: messageOf(error) };
  }
}

/** Whether a delta is there and brings the commit's signatures of now: a client takes them from it. */
async function isCurrent(repo: Repo, delta: { from: string; to: string }): Promise<boolean> {
  if (!hasDelta(repo, delta)) return false;
  try {
    const { commitMetadata } = await readSuperblock(repo, delta);
    const now = await readDetachedMetadata(repo, delta.to);
    const bytes = (metadata: typeof now) => encode('a{sv}', metadata ?? []);
    return bytes(commitMetadata).equals(bytes(now));
  } catch (error) {
    if (error instanceof OstreeError) return false;
    throw error;
  }
}

/**
 * From which commits a release gets deltas: what most devices of the channel run comes first, then the releases
 * before, newest first. Only commits that the published repository still has.
 */
async function deltaSources(
  core: Core,
  repo: Repo,
  release: Pick<ReleaseRow, 'repository' | 'channel' | 'commit' | 'number'>,
  { deltas }: Pick<RepositorySettings, 'deltas'>,
): Promise<string[]> {
  const history = await releasedBefore(core, release);
  const running = deltas.devices ? await runningOn(core, release, new Set(history)) : [];
  const sources = new Set([...running, ...history.slice(0, deltas.previous)]);
  sources.delete(release.commit);
  return [...sources].filter((commit) => hasObject(repo, 'commit', commit)).slice(0, deltas.most);
}

/** Commits that the channel had before, each once, newest first. */
async function releasedBefore(
  core: Core,
  { repository, channel, commit, number }: Pick<ReleaseRow, 'repository' | 'channel' | 'commit' | 'number'>,
): Promise<string[]> {
  const rows = await core.db
    .selectFrom('releases')
    .select('commit')
    .where('repository', '=', repository)
    .where('channel', '=', channel)
    .where('state', '=', 'published')
    .where('number', '<', number)
    .orderBy('number', 'desc')
    .execute();
  return [...new Set(rows.map((row) => row.commit))].filter((one) => one !== commit);
}

/** What devices of the channel run, most first. One that follows no channel counts where it runs a release of it. */
async function runningOn(
  core: Core,
  { repository, channel }: Pick<ReleaseRow, 'repository' | 'channel'>,
  released: ReadonlySet<string>,
): Promise<string[]> {
  const rows = await core.db
    .selectFrom('devices')
    .select(['channel', 'current_commit', (eb) => eb.fn.countAll<number>().as('count')])
    .where('repository', '=', repository)
    .where('accepted', '=', 1)
    .where('current_commit', 'is not', null)
    .groupBy(['channel', 'current_commit'])
    .execute();
  const counts = new Map<string, number>();
  for (const row of rows) {
    const commit = row.current_commit!;
    const follows = row.channel === channel || (row.channel === null && released.has(commit));
    if (follows) counts.set(commit, (counts.get(commit) ?? 0) + Number(row.count));
  }
  return [...counts].sort(([a, x], [b, y]) => y - x || (a < b ? -1 : 1)).map(([commit]) => commit);
}
