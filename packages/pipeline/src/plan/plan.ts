import { PipelineError } from '../diagnostic/diagnostic.ts';
import type { Graph } from '../graph/graph.ts';
import type { Plan, PlanState } from './state.ts';

export function plan(_graph: Graph, _state: PlanState): Plan {
  throw new PipelineError('invalid-argument', 'not written yet');
}
