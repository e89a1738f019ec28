import { PipelineError } from '../diagnostic/diagnostic.ts';
import type { KeyDocument } from './document.ts';

export function jobKey(_document: KeyDocument): string {
  throw new PipelineError('invalid-argument', 'not written yet');
}
