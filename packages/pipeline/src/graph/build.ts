import { PipelineError } from '../diagnostic/diagnostic.ts';
import type { Pipeline } from '../model.ts';
import type { Graph } from './graph.ts';

export function buildGraph(_pipelines: readonly Pipeline[]): Graph {
  throw new PipelineError('invalid-argument', 'not written yet');
}
