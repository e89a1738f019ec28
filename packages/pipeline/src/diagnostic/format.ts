import type { Diagnostic } from './diagnostic.ts';

export type SourceText = string | ((diagnostic: Diagnostic) => string | undefined);

export function formatDiagnostics(_diagnostics: readonly Diagnostic[], _source?: SourceText): string {
  return '';
}
