/** One fault in a file, at the key or value that is wrong. Line and column count from 1. */
export type Diagnostic = {
  readonly project: string;
  readonly file: string;
  readonly line: number;
  readonly column: number;
  /** What is wrong. */
  readonly message: string;
  /** What to do about it. */
  readonly hint?: string;
};

export type PipelineErrorCode =
  /** A treeline.yaml is wrong by itself. */
  | 'invalid-pipeline'
  /** The files are right one by one but do not fit together: cycle, unknown project, missing artifact. */
  | 'invalid-graph'
  /** A value that canonical JSON cannot express. */
  | 'invalid-key'
  /** The caller's state contradicts the graph: a source or an output that must be there is not. */
  | 'invalid-state'
  /** An argument that no user wrote is wrong. */
  | 'invalid-argument';

/** The base of every error this package throws. `diagnostics` is empty unless files are at fault. */
export class PipelineError extends Error {
  override readonly name = 'PipelineError';
  readonly code: PipelineErrorCode;
  readonly hint: string | undefined;
  readonly diagnostics: readonly Diagnostic[];

  constructor(
    code: PipelineErrorCode,
    message: string,
    options: { hint?: string; diagnostics?: readonly Diagnostic[]; cause?: unknown } = {},
  ) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.hint = options.hint;
    this.diagnostics = options.diagnostics ?? [];
  }
}
