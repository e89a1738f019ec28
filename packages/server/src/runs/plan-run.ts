import { readCommit } from '@treeline/ostree';
import {
  type BuiltInName,
  type Graph,
  type JobId,
  type JobProgress,
  type Plan,
  type PlanState,
  type PlatformPolicy,
  type PublishProgress,
  plan,
  type ResultOutputs,
  type Tree,
} from '@treeline/pipeline';
import type { RunnerOffer } from '@treeline/runner';
import type { BuiltIn } from '../built-ins/built-ins.ts';
import type { Core } from '../core.ts';
import type { ReleaseRow } from '../publish/tables.ts';
import { channelHead } from '../reading/releases.ts';
import type { RevisionRow } from '../sources/tables.ts';
import { VERSION } from '../version.ts';
import type { Results } from './results.ts';
import type { SourceTrees } from './source-trees.ts';
import type { RunJobRow, RunRow } from './tables.ts';

/** A run as the database has it, and what its plan is now. */
export interface PlannedRun {
  run: RunRow;
  graph: Graph;
  manifest: RevisionRow[];
  rows: Map<JobId, RunJobRow>;
  releases: ReleaseRow[];
  /** Artifacts that come with Treeline, as far as jobs take them. */
  builtIns: ReadonlyMap<BuiltInName, BuiltIn>;
  /** What the channels that board jobs go back to have now, by `repository:channel`. */
  released: ReadonlyMap<string, Released>;
  plan: Plan;
}

/** A release that a channel has. */
export interface Released {
  commit: string;
  tree: Tree;
}

export interface PlanningTools {
  core: Core;
  results: Results;
  sourceTrees: SourceTrees;
}

/** Reads the state of a run and plans it. */
export async function planRun(
  tools: PlanningTools,
  o: { run: RunRow; graph: Graph; manifest: RevisionRow[] },
): Promise<PlannedRun> {
  const { db } = tools.core;
  const jobs = await db.selectFrom('run_jobs').selectAll().where('run_id', '=', o.run.id).execute();
  const rows = new Map(jobs.map((row) => [row.job as JobId, row]));
  const releases = await db.selectFrom('releases').selectAll().where('run_id', '=', o.run.id).execute();
  await tools.results.load(jobs.filter((row) => row.state === 'passed').map((row) => row.key!));
  const builtIns = await tools.core.builtIns.usedBy(o.graph);
  const released = await releasedOn(tools.core, o.graph);
  const asked = new Set<string>();
  const state: PlanState = {
    sources: await tools.sourceTrees.of(o.graph, o.manifest),
    progress: progressOf(rows, tools.results),
    publishes: publishesOf(releases),
    known(key) {
      asked.add(key);
      return treesOf(tools.results, key);
    },
    builtIns: new Map([...builtIns].map(([name, { tree }]) => [name, tree])),
    platform: await platformPolicy(tools.core),
    released: new Map([...released].map(([channel, { tree }]) => [channel, tree])),
    treeline: VERSION,
  };
  // The plan asks for keys as it finds them, and each answer may lead to further keys. It is pure, so it is repeated
  // until it asks for nothing that was not looked up.
  for (let looked = -1; ; ) {
    const planned = plan(o.graph, state);
    if (asked.size === looked) return { ...o, rows, releases, builtIns, released, plan: planned };
    looked = asked.size;
    await tools.results.load(asked);
  }
}

/** The releases that board jobs are tried over; what the store has no more of cannot be gone back to. */
async function releasedOn(core: Core, graph: Graph): Promise<Map<string, Released>> {
  const found = new Map<string, Released>();
  for (const { job } of graph.jobs.values()) {
    if (job.kind !== 'board' || job.over === null) continue;
    const { repository, channel } = job.over;
    const id = `${repository}:${channel}`;
    const head = found.has(id) ? null : await channelHead(core.db, repository, channel);
    const commit = head && (await readCommit(core.store, head.commit).catch(() => null));
    if (head && commit) found.set(id, { commit: head.commit, tree: commit.tree });
  }
  return found;
}

function treesOf(results: Results, key: string): ResultOutputs | undefined {
  const result = results.get(key);
  if (!result) return undefined;
  return Object.fromEntries(Object.entries(result.outputs).map(([name, output]) => [name, output.tree]));
}

function progressOf(rows: ReadonlyMap<JobId, RunJobRow>, results: Results): Map<JobId, JobProgress> {
  const progress = new Map<JobId, JobProgress>();
  for (const [id, row] of rows) {
    const key = row.key ?? '';
    switch (row.state) {
      case 'queued':
      case 'running':
        progress.set(id, { state: 'running', key });
        break;
      case 'passed':
        progress.set(id, { state: 'passed', key, outputs: treesOf(results, key) ?? {}, reused: row.reused === 1 });
        break;
      case 'failed': {
        const failure = row.failure ? (JSON.parse(row.failure) as { message: string }) : { message: 'failed' };
        progress.set(id, { state: 'failed', key, message: failure.message });
        break;
      }
      case 'cancelled':
        progress.set(id, { state: 'cancelled' });
        break;
      case 'blocked':
      case 'skipped':
        break;
    }
  }
  return progress;
}

function publishesOf(releases: readonly ReleaseRow[]): Map<string, PublishProgress> {
  const progress = new Map<string, PublishProgress>();
  for (const release of releases) {
    const id = `${release.repository}:${release.channel}`;
    if (release.state === 'published' || release.state === 'withdrawn') progress.set(id, { state: 'published' });
    else if (release.state === 'abandoned') progress.set(id, { state: 'superseded' });
    else if (release.state === 'failed') progress.set(id, { state: 'failed', message: release.message ?? 'failed' });
  }
  return progress;
}

const RECENT_MS = 10 * 60 * 1000;

/**
 * What the machines at hand are like: what the settings emulate, less what a runner that was there lately really has.
 */
async function platformPolicy(core: Core): Promise<PlatformPolicy> {
  const { settings } = core;
  let emulate = [...settings.emulate];
  if (emulate.length > 0) {
    const runners = await core.db
      .selectFrom('runners')
      .select('offer')
      .where('last_seen', '>', Date.now() - RECENT_MS)
      .execute();
    const offers = runners.map((runner) => JSON.parse(runner.offer) as RunnerOffer);
    const really = (offer: RunnerOffer, demand: string) =>
      !offer.emulates.includes(demand) &&
      (offer.arch === demand || (demand === 'gpu' && offer.gpu) || offer.labels.includes(demand));
    emulate = emulate.filter((demand) => !offers.some((offer) => really(offer, demand)));
  }
  return { defaultArch: machine(), hostImage: settings.hostImage, emulate };
}

/** The architecture as `uname -m` says it. */
function machine(): string {
  return { x64: 'x86_64', arm64: 'aarch64', arm: 'armv7l', ia32: 'i686' }[process.arch as string] ?? process.arch;
}
