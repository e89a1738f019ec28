/**
 * The server's errors. Every code maps once to an HTTP status; `message` says what happened and where, `hint` what to
 * do about it, `cause` stays in the log.
 */

const STATUS = {
  'invalid-request': 400,
  unauthenticated: 401,
  forbidden: 403,
  'not-found': 404,
  'stale-token': 409,
  conflict: 409,
  'too-large': 413,
  'too-many-attempts': 429,
  'source-invalid': 422,
  'source-unreachable': 422,
  'pipeline-invalid': 422,
  'outputs-incomplete': 422,
  unprocessable: 422,
  'settings-invalid': 500,
  'data-folder-busy': 500,
  'runner-failed': 500,
  internal: 500,
  unavailable: 503,
} as const;

export type ServerErrorCode = keyof typeof STATUS;

export class ServerError extends Error {
  override readonly name = 'ServerError';
  readonly code: ServerErrorCode;
  readonly hint: string | undefined;
  /** Typed facts about the failure (diagnostics, the current value of a compare-and-swap …). */
  readonly data: unknown;

  constructor(code: ServerErrorCode, message: string, o: { hint?: string; cause?: unknown; data?: unknown } = {}) {
    super(message, o.cause === undefined ? undefined : { cause: o.cause });
    this.code = code;
    this.hint = o.hint;
    this.data = o.data;
  }

  /** HTTP status of this error's code. */
  get status(): number {
    return STATUS[this.code];
  }
}

/** Message of anything thrown, for places that must show one line to a person. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
