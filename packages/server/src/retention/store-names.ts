import { type Checksum, hasObject, openRepo, type Repo } from '@treeline/ostree';
import type { Core } from '../core.ts';
import type { Queryable } from '../database/open.ts';
import { heldCommits } from '../devices/runs.ts';
import { OWN_PREFIXES } from '../push/refs.ts';
import { readRefs } from './facts.ts';
import { type KnownResults, readResults } from './known-results.ts';
import { type Origins, originsOf } from './origins.ts';

/** Why the store keeps a commit. */
export const STORE_REASONS = [
  'ref',
  'release',
  'result',
  'source',
  'label',
  'pin',
  'device',
  /** A commit that is kept was made from it, in some run, or has it as its parent. */
  'origin',
] as const;
export type StoreReason = (typeof STORE_REASONS)[number];

/** What the store keeps, and what of it runs may no longer take. */
export interface StoreNames {
  kept: Map<Checksum, StoreReason>;
  /** Keys of results that nothing needs and no run has used for long. */
  unusedResults: Set<string>;
  /** The server's own refs of what is not kept, with what they name. */
  unusedRefs: Map<string, Checksum>;
}

export interface StoreFacts {
  /** Commits that are there. */
  commits: ReadonlySet<Checksum>;
  origins: Origins;
  /** ms; results and sources that a run has used since are kept. */
  usedSince: number;
}

/**
 * Every commit of the private store that something needs, and what does first:
 *
 * - a ref, other than those that the server sets by itself for what it makes;
 * - a release that is being published, or that its repository still has: so its retention counts here, too;
 * - a pin, a device, a label by hand;
 * - a result or source that a run has used lately, or that goes into a run which goes on; the newest sources of projects;
 * - whatever these were made from, which is where labels come from; and all outputs of a result of which one is kept,
 *   as its key is good for all of them.
 *
 * What is written first is read last: what becomes a result while this reads is seen as one or the other.
 */
export async function namedInStore(
  { db, store, repositories, builtIns }: Pick<Core, 'db' | 'store' | 'repositories' | 'builtIns'>,
  { commits, origins, usedSince }: StoreFacts,
): Promise<StoreNames> {
  const kept = new Map<Checksum, StoreReason>();
  const waiting: Checksum[] = [];
  const name = (commit: Checksum, reason: StoreReason) => {
    if (kept.has(commit) || !commits.has(commit)) return;
    kept.set(commit, reason);
    waiting.push(commit);
  };
  const refs = await readRefs(store);
  const own = new Map<string, Checksum>();
  for (const [ref, commit] of refs) {
    if (OWN_PREFIXES.some((prefix) => ref.startsWith(`${prefix}/`))) own.set(ref, commit);
    else name(commit, 'ref');
  }
  for (const { commit } of await builtIns.current()) name(commit, 'ref');
  const making = await keysBeingMade(db);
  for (const [ref, commit] of own) if (making.has(keyOfRef(ref))) name(commit, 'result');
  for (const commit of await releasedCommits({ db, repositories }, commits)) name(commit, 'release');
  const results = await readResults(db, usedSince);
  for (const { isUsed, outputs } of results.current.values()) {
    if (isUsed) for (const commit of outputs) name(commit, 'result');
  }
  for (const commit of await usedSources(db, usedSince)) name(commit, 'source');
  const labels = await db.selectFrom('labels').select('commit').where('actor', 'is not', null).execute();
  for (const { commit } of labels) name(commit, 'label');
  for (const { commit } of await db.selectFrom('pins').select('commit').execute()) name(commit, 'pin');
  for (const { commit } of await heldCommits(db)) name(commit, 'device');

  const needed = new Set<string>();
  for (let commit = waiting.pop(); commit !== undefined; commit = waiting.pop()) {
    for (const from of await originsOf(store, origins, commit)) name(from, 'origin');
    for (const key of results.madeBy.get(commit) ?? []) {
      if (needed.has(key)) continue;
      needed.add(key);
      for (const output of results.current.get(key)?.outputs ?? []) name(output, 'result');
      for (const from of results.inputs.get(key) ?? []) name(from, 'origin');
    }
  }
  const unusedRefs = [...own].filter(([ref, commit]) => !kept.has(commit) && !making.has(keyOfRef(ref)));
  return { kept, unusedResults: unused(results, needed), unusedRefs: new Map(unusedRefs) };
}

function unused({ current }: KnownResults, needed: ReadonlySet<string>): Set<string> {
  return new Set([...current].filter(([key, { isUsed }]) => !isUsed && !needed.has(key)).map(([key]) => key));
}

function keyOfRef(ref: string): string {
  const [prefix, key = ''] = ref.split('/');
  return prefix === 'results' ? key : '';
}

/** Keys of executions that are not done: their outputs get commits and refs before they are results. */
async function keysBeingMade(db: Queryable): Promise<Set<string>> {
  const rows = await db.selectFrom('executions').select('key').where('state', '!=', 'done').execute();
  return new Set(rows.map(({ key }) => key));
}

/** Commits that are being published, or that a repository has which published them. */
async function releasedCommits(
  { db, repositories }: Pick<Core, 'db' | 'repositories'>,
  commits: ReadonlySet<Checksum>,
): Promise<Set<Checksum>> {
  const found = new Set<Checksum>();
  const rows = await db
    .selectFrom('releases')
    .select(['repository', 'commit', 'state'])
    .where('state', 'in', ['publishing', 'published'])
    .distinct()
    .execute();
  const open = new Map<string, Repo>();
  for (const { name, path } of repositories.list()) open.set(name, await openRepo(path));
  for (const { repository, commit, state } of rows) {
    if (!commits.has(commit) || found.has(commit)) continue;
    const repo = open.get(repository);
    if (state === 'publishing' || (repo && hasObject(repo, 'commit', commit))) found.add(commit);
  }
  return found;
}

/** Source commits that are new, of runs that go on, or used lately; and what jobs lately saw of them. */
async function usedSources(db: Queryable, usedSince: number): Promise<Checksum[]> {
  const ofRuns = db
    .selectFrom('run_manifests')
    .innerJoin('runs', 'runs.id', 'run_manifests.run_id')
    .innerJoin('revisions', (join) =>
      join
        .onRef('revisions.project', '=', 'run_manifests.project')
        .onRef('revisions.revision', '=', 'run_manifests.revision'),
    )
    .select('revisions.commit')
    .where('runs.state', '=', 'running');
  const newest = db
    .selectFrom('projects')
    .innerJoin('revisions', (join) =>
      join.onRef('revisions.project', '=', 'projects.name').onRef('revisions.revision', '=', 'projects.head'),
    )
    .select('revisions.commit');
  const rows = await db
    .selectFrom('revisions')
    .select('commit')
    .where('used_at', '>=', usedSince)
    .union(ofRuns)
    .union(newest)
    .union(db.selectFrom('filtered_sources').select('commit').where('used_at', '>=', usedSince))
    .execute();
  return rows.map(({ commit }) => commit);
}
