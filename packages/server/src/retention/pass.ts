import {
  type Checksum,
  hasObject,
  listCommits,
  listDeltas,
  openRepo,
  type PruneOptions,
  prune,
  pruneDeltas,
  type Repo,
} from '@treeline/ostree';
import type { Caller } from '../access/caller.ts';
import type { Core } from '../core.ts';
import type { PublishedRepository } from '../publish/registry.ts';
import { decideRetention, type RetentionDecision, type RetentionFacts } from './decide.ts';
import { noteDecision, notePrune, noteUnlisted } from './dropped.ts';
import { readFacts } from './facts.ts';
import { beyond, type Freed, freedBy, NOTHING, sizeOfDeltas } from './freed.ts';
import { renewSummary } from './renew.ts';
import { deltasOf, unlist } from './unlist.ts';

/** What a look at a repository found, and did. */
export interface PassReport {
  facts: RetentionFacts;
  decision: RetentionDecision;
  /** What went; of a dry run, what would. */
  freed: Freed;
  /** Of a dry run: what goes besides when every grace is over. */
  waiting: Freed | null;
  /** Commits that are gone now. */
  gone: Checksum[];
}

export interface PassOptions {
  /** Only say what would happen. */
  dryRun?: boolean;
  /** Look for objects that no commit needs, too, when no commit goes. */
  thorough?: boolean;
  /** Who asked for it; null: the server by itself. */
  caller: Pick<Caller, 'name' | 'address'> | null;
  now: () => number;
}

/**
 * Does for a published repository what retention decides: notes what is dropped, takes it out of delta indexes and
 * summary, and deletes what has been out of them for its grace. Each step can be done twice, and a pass that was killed
 * is simply done again.
 *
 * Publishing goes on meanwhile. What a release relies on that is decided at any moment before the deletion does not go:
 * prune asks again under the exclusive lock, when no transaction is under way. A release that is decided later finds
 * the commit gone and copies it anew.
 */
export async function passOver(core: Core, repository: PublishedRepository, o: PassOptions): Promise<PassReport> {
  const repo = await openRepo(repository.path);
  const decide = async (commits: ReadonlySet<Checksum>) => {
    const facts = await readFacts(core.db, repository, { repo, commits, now: o.now() });
    return { facts, decision: decideRetention(facts) };
  };
  const commits = new Set(await listCommits(repo));
  const first = await decide(commits);
  if (o.dryRun) return { ...first, ...(await rehearse(repo, first, core.signal)), gone: [] };

  await noteDecision(core, repository.name, first);
  const wrongly = await unlist(repo, first.decision.dropped, () => renewSummary(core, repository, repo));
  const unlisted = [...first.decision.dropped]
    .filter(([commit, { goesAt }]) => goesAt === null || wrongly.has(commit))
    .map(([commit]) => commit);
  await noteUnlisted(core, repository.name, { commits: unlisted, now: o.now() });

  const second = await decide(commits);
  const { going } = second.decision;
  if (going.size === 0 && !o.thorough) return { ...second, freed: NOTHING, waiting: null, gone: [] };
  const deltas = await sizeOfDeltas(repo, deltasOf(await listDeltas(repo), going));
  await pruneDeltas(repo, { of: going, signal: core.signal });
  const report = await prune(repo, {
    ...KEEP_REFS,
    signal: core.signal,
    keep: async (all) => {
      const still = (await decide(all)).decision.going;
      return [...all].filter((commit) => !(going.has(commit) && still.has(commit)));
    },
  });
  const freed = freedBy(report, deltas);
  const gone = [...going].filter((commit) => !hasObject(repo, 'commit', commit));
  await notePrune(core, repository.name, { gone, freed, caller: o.caller, now: o.now() });
  return { ...second, freed, waiting: null, gone };
}

/** What refs name is kept; of their history only what is a commit of a release itself. */
const KEEP_REFS = { refsOnly: true, depth: 0 } as const satisfies PruneOptions;

/** What would go now, and what when every grace is over. */
async function rehearse(
  repo: Repo,
  { facts, decision }: { facts: RetentionFacts; decision: RetentionDecision },
  signal: AbortSignal,
): Promise<{ freed: Freed; waiting: Freed }> {
  const deltas = await listDeltas(repo);
  const without = async (leaving: { has(commit: Checksum): boolean }): Promise<Freed> => {
    const keep = [...facts.commits].filter((commit) => !leaving.has(commit));
    const report = await prune(repo, { ...KEEP_REFS, dryRun: true, keep, signal });
    return freedBy(report, await sizeOfDeltas(repo, deltasOf(deltas, leaving)));
  };
  const freed = await without(decision.going);
  return { freed, waiting: beyond(await without(decision.dropped), freed) };
}
