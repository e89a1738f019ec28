import { type Checksum, hasObject, listCommits, type PruneOptions, prune } from '@treeline/ostree';
import type { Core } from '../core.ts';
import { type Dropped, decideDropped } from './decide.ts';
import { noteDecision, notePrune, noteUnlisted } from './dropped.ts';
import { readDropped } from './facts.ts';
import { beyond, type Freed, freedBy, NOTHING } from './freed.ts';
import type { PassOptions } from './pass.ts';
import { namedInStore, type Origins, type StoreReason } from './store-names.ts';
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
 * Does for the private store what `passOver` does for a published repository. It keeps whatever anything names (see
 * `namedInStore`), so what goes is what a push has overwritten, what a job left that was never finished, and the like:
 * after the store's grace, which also counts for objects by themselves, as somebody may be about to make a commit of them.
 */
export async function passOverStore(core: Core, o: PassOptions & { origins: Origins }): Promise<StorePassReport> {
  const { store } = core;
  const grace = core.settings.storeGraceDays * DAY_MS;
  const decide = async (commits: ReadonlySet<Checksum>) => {
    const now = o.now();
    const kept = await namedInStore(core.db, { store, commits, origins: o.origins });
    const facts = { now, dropped: await readDropped(core.db, STORE) };
    return { kept, facts, decision: decideDropped({ ...facts, commits, grace }, kept) };
  };
  const storedBefore = o.now() - grace;
  const options = { refsOnly: true, storedBefore, signal: core.signal } as const satisfies PruneOptions;
  const commits = new Set(await listCommits(store));
  const { kept, ...first } = await decide(commits);
  if (o.dryRun) {
    const without = async (leaving: { has(commit: Checksum): boolean }, before: number): Promise<Freed> => {
      const keep = [...commits].filter((commit) => !leaving.has(commit));
      const report = await prune(store, { ...options, storedBefore: before, dryRun: true, keep });
      return freedBy(report, { deltas: 0, deltaBytes: 0 });
    };
    const freed = await without(first.decision.going, storedBefore);
    const waiting = beyond(await without(first.decision.dropped, Number.POSITIVE_INFINITY), freed);
    return { kept, ...first.decision, freed, waiting, gone: [] };
  }
  await noteDecision(core, STORE, first);
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
  await notePrune(core, STORE, { gone, freed, caller: o.caller, now: o.now() });
  return { kept, dropped, going, freed, waiting: null, gone };
}
