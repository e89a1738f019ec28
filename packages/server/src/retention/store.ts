import {
  type Checksum,
  hasObject,
  listCommits,
  listRefs,
  type PruneOptions,
  prune,
  withTransaction,
} from '@treeline/ostree';
import type { Core } from '../core.ts';
import { type Dropped, decideDropped } from './decide.ts';
import { noteDecision, notePrune, noteUnlisted } from './dropped.ts';
import { readDropped } from './facts.ts';
import { beyond, type Freed, freedBy, NOTHING } from './freed.ts';
import { forgetInputs, forgetResults } from './known-results.ts';
import type { Origins } from './origins.ts';
import type { PassOptions } from './pass.ts';
import { namedInStore, type StoreReason } from './store-names.ts';
import { STORE } from './tables.ts';

const DAY_MS = 86_400_000;

export interface StorePassReport {
  kept: Map<Checksum, StoreReason>;
  dropped: Map<Checksum, Dropped>;
  going: Set<Checksum>;
  freed: Freed;
  waiting: Freed | null;
  gone: Checksum[];
}

/**
 * Does for the private store what `passOver` does for a published repository. It keeps what anything needs (see
 * `namedInStore`). First results of jobs are forgotten that nothing needs and no run has used for long, then the server's
 * own refs of what is not kept are removed, and when the store's grace is over the commits go. The grace also counts
 * for objects by themselves, as somebody may be about to make a commit of them.
 */
export async function passOverStore(core: Core, o: PassOptions & { origins: Origins }): Promise<StorePassReport> {
  const { store } = core;
  const grace = core.settings.storeGraceDays * DAY_MS;
  const decide = async (commits: ReadonlySet<Checksum>) => {
    const now = o.now();
    const usedSince = now - core.settings.unusedDays * DAY_MS;
    const names = await namedInStore(core, { commits, origins: o.origins, usedSince });
    const facts = { now, usedSince, dropped: await readDropped(core.db, STORE) };
    return { names, facts, decision: decideDropped({ ...facts, commits, grace }, names.kept) };
  };
  const storedBefore = o.now() - grace;
  const options = { refsOnly: true, storedBefore, signal: core.signal } as const satisfies PruneOptions;
  const commits = new Set(await listCommits(store));
  const first = await decide(commits);
  const { kept, unusedResults, unusedRefs } = first.names;
  if (o.dryRun) {
    const ignoreRefs = new Set(unusedRefs.keys());
    const without = async (leaving: { has(commit: Checksum): boolean }, before: number): Promise<Freed> => {
      const keep = [...commits].filter((commit) => !leaving.has(commit));
      const report = await prune(store, { ...options, storedBefore: before, dryRun: true, keep, ignoreRefs });
      return freedBy(report, { deltas: 0, deltaBytes: 0 });
    };
    const freed = await without(first.decision.going, storedBefore);
    const waiting = beyond(await without(first.decision.dropped, Number.POSITIVE_INFINITY), freed);
    return { kept, ...first.decision, freed, waiting, gone: [] };
  }
  await forgetResults(core, { keys: unusedResults, ...first.facts });
  // A pass that was killed may have left them.
  await forgetInputs(
    core.db,
    [...first.facts.dropped.keys()].filter((commit) => !commits.has(commit)),
  );
  await noteDecision(core, STORE, first);
  await removeRefs(core, unusedRefs);
  // Nobody is told what the store has but by its refs.
  const unlisted = [...first.decision.dropped].filter(([, { goesAt }]) => goesAt === null).map(([commit]) => commit);
  await noteUnlisted(core, STORE, { commits: unlisted, now: first.facts.now });
  const { going, dropped } = (await decide(commits)).decision;
  if (going.size === 0 && !o.thorough) return { kept, dropped, going, freed: NOTHING, waiting: null, gone: [] };
  const report = await prune(store, {
    ...options,
    keep: async (all) => {
      const still = (await decide(all)).decision.going;
      return [...all].filter((commit) => !(going.has(commit) && still.has(commit)));
    },
  });
  const freed = freedBy(report, { deltas: 0, deltaBytes: 0 });
  const gone = [...going].filter((commit) => !hasObject(store, 'commit', commit));
  await forgetInputs(core.db, gone);
  await notePrune(core, STORE, { gone, freed, caller: o.caller, now: o.now() });
  return { kept, dropped, going, freed, waiting: null, gone };
}

/**
 * Removes refs of what is not kept. Each was read before it was known that nothing needs it: one that names something
 * else by now is left alone.
 */
async function removeRefs({ store, signal }: Core, unused: ReadonlyMap<string, Checksum>): Promise<void> {
  if (unused.size === 0) return;
  await withTransaction(
    store,
    async (tx) => {
      const now = await listRefs(store);
      for (const [ref, commit] of unused) if (now.get(ref) === commit) tx.setRef(ref, null);
    },
    { signal },
  );
}
