import { type Checksum, metadataValue, OstreeError, type Repo, readCommit } from '@treeline/ostree';
import { Provenance } from '../api/schema.ts';
import type { Queryable } from '../database/open.ts';
import { heldCommits } from '../devices/runs.ts';
import { PROVENANCE } from '../executions/outputs.ts';
import { outputsOf } from '../executions/spec.ts';
import { readRefs } from './facts.ts';

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

/** What a commit refers to. It never changes, so it is read once. */
export type Origins = Map<Checksum, readonly Checksum[]>;

/**
 * Every commit of the private store that something names, and what does first: a ref, a release in whatever state, the
 * result of a job, a source revision, a label, a pin, a device; and what these were made from, which is where labels come from.
 *
 * @param commits those that are there
 */
export async function namedInStore(
  db: Queryable,
  o: { store: Repo; commits: ReadonlySet<Checksum>; origins: Origins },
): Promise<Map<Checksum, StoreReason>> {
  const { store, commits, origins } = o;
  const named = new Map<Checksum, StoreReason>();
  const name = (commit: Checksum | null, reason: StoreReason) => {
    if (commit !== null && commits.has(commit) && !named.has(commit)) named.set(commit, reason);
  };
  for (const commit of (await readRefs(store)).values()) name(commit, 'ref');
  const releases = await db.selectFrom('releases').select('commit').distinct().execute();
  for (const { commit } of releases) name(commit, 'release');
  for (const row of await db.selectFrom('results').select('outputs').execute()) {
    for (const { commit } of Object.values(outputsOf(row))) name(commit, 'result');
  }
  for (const { commit } of await db.selectFrom('result_inputs').select('commit').distinct().execute()) {
    name(commit, 'origin');
  }
  for (const { commit } of await db.selectFrom('revisions').select('commit').distinct().execute()) {
    name(commit, 'source');
  }
  for (const { commit } of await db.selectFrom('labels').select('commit').execute()) name(commit, 'label');
  for (const { commit } of await db.selectFrom('pins').select('commit').execute()) name(commit, 'pin');
  for (const { commit } of await heldCommits(db)) name(commit, 'device');
  for (const { commit } of await db.selectFrom('result_inputs').select('commit').distinct().execute()) {
    name(commit, 'origin');
  }
  const waiting = [...named.keys()];
  for (let commit = waiting.pop(); commit !== undefined; commit = waiting.pop()) {
    let from = origins.get(commit);
    if (!from) {
      from = await originsOf(store, commit);
      origins.set(commit, from);
    }
    for (const one of from) {
      if (named.has(one) || !commits.has(one)) continue;
      named.set(one, 'origin');
      waiting.push(one);
    }
  }
  return named;
}

async function originsOf(store: Repo, commit: Checksum): Promise<Checksum[]> {
  let read: Awaited<ReturnType<typeof readCommit>>;
  try {
    read = await readCommit(store, commit);
  } catch (error) {
    if (error instanceof OstreeError && error.code === 'not-found') return [];
    throw error;
  }
  const { parent, metadata } = read;
  const from = parent === null ? [] : [parent];
  const text = metadataValue(metadata, PROVENANCE)?.value;
  if (typeof text !== 'string') return from;
  try {
    const provenance = Provenance.parse(JSON.parse(text));
    return [...from, ...provenance.inputs.map((input) => input.commit), ...provenance.sources.map((one) => one.commit)];
  } catch {
    return from; // somebody else's
  }
}
