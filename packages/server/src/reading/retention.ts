import type { Amount, RootDiskUse } from '@treeline/ostree';
import type { DiskUseAnswer, Pin, PrunedRepository, RepositoryUse } from '../api/schema.ts';
import type { Queryable } from '../database/open.ts';
import type { MeasuredRepository } from '../retention/disk-use.ts';
import type { PassReport } from '../retention/pass.ts';
import type { StorePassReport } from '../retention/store.ts';
import { EVERYWHERE, type PinRow } from '../retention/tables.ts';
import { time } from './time.ts';

type ReleaseOf = Pin['releases'][number];

/** Releases by commit, newest first, without those that only noted that a channel had the commit already. */
async function releasesByCommit(db: Queryable, repository?: string): Promise<Map<string, ReleaseOf[]>> {
  let query = db
    .selectFrom('releases')
    .select(['repository', 'channel', 'number', 'commit'])
    .where('state', 'in', ['publishing', 'published'])
    .where((eb) => eb.or([eb('previous', 'is', null), eb('previous', '!=', eb.ref('commit'))]))
    .orderBy('number', 'desc');
  if (repository !== undefined) query = query.where('repository', '=', repository);
  const rows = await query.execute();
  const found = new Map<string, ReleaseOf[]>();
  for (const { commit, ...release } of rows) found.set(commit, [...(found.get(commit) ?? []), release]);
  return found;
}

export async function pinViews(db: Queryable, rows: readonly PinRow[]): Promise<Pin[]> {
  const releases = await releasesByCommit(db);
  return rows.map((row) => {
    const repository = row.repository === EVERYWHERE ? null : row.repository;
    return {
      commit: row.commit,
      repository,
      by: row.actor,
      reason: row.reason,
      createdAt: time(row.created_at),
      releases: (releases.get(row.commit) ?? []).filter((one) => repository === null || one.repository === repository),
    };
  });
}

type Commits = PrunedRepository['commits'];

/** What a look at a repository found, newest release first. */
export async function passView(
  db: Queryable,
  repository: string,
  report: PassReport,
  dryRun: boolean,
): Promise<PrunedRepository> {
  const releases = await releasesByCommit(db, repository);
  const { kept, dropped, going } = report.decision;
  const counts: Record<string, number> = {};
  const commits: Commits = [];
  for (const [commit, reasons] of kept) {
    const [first] = reasons;
    if (first) counts[first.kind] = (counts[first.kind] ?? 0) + 1;
    const texts = reasons.map(({ text }) => text);
    commits.push({ commit, state: 'kept', reasons: texts, releases: [], droppedAt: null, goesAt: null });
  }
  commits.push(...leavingCommits({ dropped, going, gone: report.gone, dryRun }));
  for (const one of commits) one.releases = releases.get(one.commit) ?? [];
  const newest = ({ releases: [first] }: Commits[number]) => first?.number ?? 0;
  commits.sort((a, b) => newest(b) - newest(a) || (a.commit < b.commit ? -1 : 1));
  return { repository, dryRun, commits, kept: counts, freed: report.freed, waiting: report.waiting };
}

export function storePassView(report: StorePassReport, dryRun: boolean): PrunedRepository {
  const counts: Record<string, number> = {};
  for (const reason of report.kept.values()) counts[reason] = (counts[reason] ?? 0) + 1;
  const { freed, waiting } = report;
  return { repository: null, dryRun, commits: leavingCommits({ ...report, dryRun }), kept: counts, freed, waiting };
}

function leavingCommits(o: {
  dropped: PassReport['decision']['dropped'];
  going: ReadonlySet<string>;
  gone: readonly string[];
  dryRun: boolean;
}): Commits {
  const gone = new Set(o.gone);
  return [...o.dropped].map(([commit, { since, goesAt }]) => ({
    commit,
    state: gone.has(commit) ? 'gone' : o.dryRun && o.going.has(commit) ? 'going' : 'dropped',
    reasons: [],
    releases: [],
    droppedAt: time(since),
    goesAt: goesAt === null ? null : time(goesAt),
  }));
}

/** @param channel only this one of each repository */
export function diskUseView(measured: readonly MeasuredRepository[], channel?: string): DiskUseAnswer {
  const repositories = measured.map((one) => repositoryUse(one, channel));
  const sum = (pick: (use: RepositoryUse) => number) => repositories.reduce((total, use) => total + pick(use), 0);
  return {
    repositories,
    bytes: sum(({ bytes, counted }) => bytes - counted.bytes),
    allocated: sum(({ allocated, counted }) => allocated - counted.allocated),
  };
}

function repositoryUse({ repository, refs, use }: MeasuredRepository, channel: string | undefined): RepositoryUse {
  const { objects, unreferenced, deltas, other, counted } = use;
  const parts: { bytes: number; allocated: number }[] = [objects, deltas, other];
  return {
    repository,
    bytes: parts.reduce((total, part) => total + part.bytes, 0),
    allocated: parts.reduce((total, part) => total + part.allocated, 0),
    ...{ counted, objects, unreferenced, deltas, other },
    refs: refs
      .map(({ name, releases }, index) => ({
        name,
        ...amounts(use.roots[index]!),
        releases: releases.map((release, part) => ({ ...release, ...amounts(use.roots[index]!.parts[part]!) })),
      }))
      .filter(({ name }) => channel === undefined || name === channel),
  };
}

function amounts({ total, exclusive, shared, deltas }: RootDiskUse): {
  total: Amount;
  exclusive: Amount;
  shared: Amount;
  deltas: RootDiskUse['deltas'];
} {
  return { total, exclusive, shared, deltas };
}
