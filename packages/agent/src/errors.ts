/**
 * What went wrong, as a stable code:
 *
 * - `not-enrolled`, `already-enrolled`: the board's identity is missing, or there already
 * - `enrolment-refused`: the gateway did not take the token, the id or the key
 * - `pin-mismatch`: the gateway's CA is not the one that the token names
 * - `unreachable`: the gateway did not answer
 * - `refused`: the gateway answered with an error
 * - `other-channel`: the gateway lets the board follow another channel than the one it asked for
 * - `busy`: another agent works on this board
 * - `invalid`: the caller's input is malformed
 * - `release-unusable`: a release can never run here, however often it is tried
 * - `deploy-failed`: the board could not do a step of a deployment
 * - `no-space`: the board has not enough room for a release
 * - `tool-missing`: a program that the agent needs is not installed
 */
export type AgentErrorCode =
  | 'not-enrolled'
  | 'already-enrolled'
  | 'enrolment-refused'
  | 'pin-mismatch'
  | 'unreachable'
  | 'refused'
  | 'other-channel'
  | 'busy'
  | 'invalid'
  | 'release-unusable'
  | 'deploy-failed'
  | 'no-space'
  | 'tool-missing';

/** The one error class of this package. The message says what happened and where; the hint, what to do. */
export class AgentError extends Error {
  override readonly name = 'AgentError';
  readonly code: AgentErrorCode;
  readonly hint: string | undefined;
  /** HTTP status, where the gateway answered. */
  readonly status: number | undefined;

  constructor(code: AgentErrorCode, message: string, o: { hint?: string; cause?: unknown; status?: number } = {}) {
    super(message, o.cause === undefined ? undefined : { cause: o.cause });
    this.code = code;
    this.hint = o.hint;
    this.status = o.status;
  }
}

/** One line for people about anything thrown. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** The `code` of a Node system error (`ENOENT`, …), or undefined for anything else. */
export function systemCode(error: unknown): string | undefined {
  return error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : undefined;
}
