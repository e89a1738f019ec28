import { PipelineError } from '../diagnostic/diagnostic.ts';
import type { Pipeline } from '../model.ts';

export type ParseOptions = {
  /** Name of the project that the file belongs to. */
  readonly project: string;
  /** For messages; default `treeline.yaml`. */
  readonly file?: string;
};

export function parsePipeline(_text: string, _options: ParseOptions): Pipeline {
  throw new PipelineError('invalid-argument', 'not written yet');
}
