import { BUILT_IN_PROJECT } from '../built-in.ts';
import { PipelineError } from '../diagnostic/diagnostic.ts';
import type { Graph, GraphJob } from '../graph/graph.ts';
import { jobKey } from '../key/key.ts';
import { artifactId, type Job, type JobId } from '../model.ts';
import { keyDocuments, type TreeOf } from './document.ts';
import { planPublish } from './publishes.ts';
import type { JobProgress, Plan, PlannedPublish, PlanState, PlanStep, ResultOutputs } from './state.ts';

/**
 * What happens next in a run. Pure: call it again whenever the state has changed.
 *
 * Invariants:
 * - every job of the graph has a step; a job is `ready` only when all it depends on has passed or is reused
 * - a job is `reused` only under a key whose stored result has every output of the job
 * - a key with `emulated` in it is never looked up for a job that the policy does not emulate for; a real result
 *   also serves where emulation would do
 * - failures are never reused; what depends on a failure is skipped at once, and names the failure at its root
 * - nothing is `ready` in a cancelled run
 *
 * Errors: `invalid-state` when the state lacks a job's source, or a passed job's output.
 */
export function plan(graph: Graph, state: PlanState): Plan {
  const steps = new Map<JobId, PlanStep>();
  const treeOf: TreeOf = (artifact) => {
    const maker = steps.get(graph.artifacts.get(artifactId(artifact))!);
    const made = maker && 'outputs' in maker ? maker.outputs[artifact.artifact] : undefined;
    const tree = artifact.project === BUILT_IN_PROJECT ? state.builtIns?.get(artifact.artifact) : made;
    if (tree === undefined) {
      throw new PipelineError('invalid-state', `nothing made ${artifactId(artifact)}`, {
        hint: 'plan a graph that buildGraph made, with the built-in artifacts that it takes',
      });
    }
    return tree;
  };
  for (const id of graph.order) {
    const node = graph.jobs.get(id)!;
    const progress = state.progress.get(id);
    steps.set(id, progress ? fromProgress(node.job, progress) : planJob(node, { steps, state, treeOf }));
  }
  const publishes = graph.publishes.map((step) => planPublish(step, steps, state));
  const outcome = outcomeOf(steps, publishes);
  return outcome === undefined ? { steps, publishes, done: false } : { steps, publishes, done: true, outcome };
}

function planJob(
  { job, dependencies }: GraphJob,
  { steps, state, treeOf }: { steps: ReadonlyMap<JobId, PlanStep>; state: PlanState; treeOf: TreeOf },
): PlanStep {
  const ids = new Set(dependencies.map((dependency) => dependency.on));
  const needed = [...ids].map((id) => [id, steps.get(id)!] as const);
  for (const [id, step] of needed) {
    if (step.state === 'failed') return { state: 'skipped', because: id };
    if (step.state === 'skipped') return step;
  }
  if (state.cancelled) return { state: 'cancelled' };
  const cancelled = needed.find(([, step]) => step.state === 'cancelled');
  if (cancelled) return { state: 'skipped', because: cancelled[0] };
  const on = needed.filter(([, step]) => step.state !== 'passed' && step.state !== 'reused').map(([id]) => id);
  if (on.length > 0) return { state: 'blocked', on };

  const candidates = keyDocuments(job, state, treeOf).map((document) => ({ document, key: jobKey(document) }));
  for (const { document, key } of candidates) {
    const outputs = state.known(key);
    if (outputs !== undefined && isWhole(job, outputs)) return { state: 'reused', key, document, outputs };
  }
  return { state: 'ready', ...candidates.at(-1)! };
}

function fromProgress(job: Job, progress: JobProgress): PlanStep {
  switch (progress.state) {
    case 'running':
      return { state: 'running', key: progress.key };
    case 'failed':
      return {
        state: 'failed',
        message: progress.message,
        ...(progress.key === undefined ? {} : { key: progress.key }),
      };
    case 'cancelled':
      return { state: 'cancelled' };
    case 'passed':
      if (!isWhole(job, progress.outputs)) {
        throw new PipelineError('invalid-state', `${job.id} is said to have passed, but lacks an output`, {
          hint: `a passed ${job.name} has: ${job.outputs.map((output) => output.name).join(', ')}`,
        });
      }
      return { state: progress.reused ? 'reused' : 'passed', key: progress.key, outputs: progress.outputs };
  }
}

function isWhole(job: Job, outputs: ResultOutputs): boolean {
  return job.outputs.every((output) => Object.hasOwn(outputs, output.name));
}

function outcomeOf(steps: ReadonlyMap<JobId, PlanStep>, publishes: readonly PlannedPublish[]): Plan['outcome'] {
  const jobs = [...steps.values()];
  if (jobs.some(({ state }) => state === 'blocked' || state === 'ready' || state === 'running')) return undefined;
  if (publishes.some(({ state }) => state === 'waiting' || state === 'ready')) return undefined;
  if ([...jobs, ...publishes].some(({ state }) => state === 'failed')) return 'failed';
  if ([...jobs, ...publishes].some(({ state }) => state === 'cancelled' || state === 'impossible')) return 'cancelled';
  return 'passed';
}
