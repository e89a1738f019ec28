import type { PublishStep } from '../graph/graph.ts';
import type { JobId } from '../model.ts';
import type { PlannedPublish, PlanState, PlanStep } from './state.ts';

/** What becomes of one publish step, given what becomes of the jobs. */
export function planPublish(
  step: PublishStep,
  steps: ReadonlyMap<JobId, PlanStep>,
  state: Pick<PlanState, 'publishes' | 'cancelled'>,
): PlannedPublish {
  const progress = state.publishes.get(step.id);
  if (progress !== undefined) return { step, ...progress };
  const waiting: JobId[] = [];
  for (const id of step.after) {
    const job = steps.get(id)!;
    if (job.state === 'failed') return { step, state: 'impossible', because: id };
    if (job.state === 'skipped') return { step, state: 'impossible', because: job.because };
    if (job.state === 'cancelled' && !state.cancelled) return { step, state: 'impossible', because: id };
    if (job.state !== 'passed' && job.state !== 'reused') waiting.push(id);
  }
  if (state.cancelled) return { step, state: 'impossible', because: null };
  if (waiting.length > 0) return { step, state: 'waiting', on: waiting };
  const maker = steps.get(step.maker)!;
  if (maker.state !== 'passed' && maker.state !== 'reused') return { step, state: 'waiting', on: [step.maker] };
  return { step, state: 'ready', tree: maker.outputs[step.artifact.artifact]! };
}
