import type { Position } from '../model.ts';
import { type Diagnostic, PipelineError, type PipelineErrorCode } from './diagnostic.ts';

/** More than this many say nothing more to anybody. */
const most = 100;

/** Gathers the faults of one or more files, so that all are told at once. */
export type Collector = {
  readonly report: (file: { project: string; file: string }, position: Position, text: FaultText) => void;
  /** Throws if there was any fault. */
  readonly throwIfAny: (code: PipelineErrorCode) => void;
};

export type FaultText = { readonly message: string; readonly hint?: string | undefined };

export function collectDiagnostics(): Collector {
  const found = new Map<string, Diagnostic>();
  return {
    report({ project, file }, { line, column }, { message, hint }) {
      const place = [project, file, line, column, message].join('\0');
      if (!found.has(place))
        found.set(place, { project, file, line, column, message, ...(hint === undefined ? {} : { hint }) });
    },
    throwIfAny(code) {
      if (found.size === 0) return;
      const diagnostics = [...found.values()].sort(byPlace).slice(0, most);
      const first = diagnostics[0]!;
      const others = found.size - 1;
      const more = others === 0 ? '' : ` (and ${others} more)`;
      const where = `${first.project}: ${first.file}:${first.line}:${first.column}`;
      throw new PipelineError(code, `${where}: ${first.message}${more}`, {
        diagnostics,
        ...(first.hint === undefined ? {} : { hint: first.hint }),
      });
    },
  };
}

function byPlace(a: Diagnostic, b: Diagnostic): number {
  if (a.project !== b.project) return a.project < b.project ? -1 : 1;
  return a.line - b.line || a.column - b.column;
}
