/**
 * What went wrong, as a stable code:
 *
 * - `not-found`: a repository, ref, object or path does not exist
 * - `exists`: something is in the way
 * - `corrupt`: stored or received bytes are not what their name or format says
 * - `invalid`: the caller's input is malformed
 * - `unsupported`: well-formed, but not something that this library or this repository mode can hold
 * - `changed`: a file changed while it was being read
 * - `signature`: a signature is missing, wrong, or by nobody who is trusted
 * - `conflict`: a ref does not hold what the caller expected, because somebody else was faster or the caller was wrong
 * - `forbidden`: the other side does not let this caller do it
 * - `no-space`: the file system has not enough room, or would have too little left
 * - `network`: the other side could not be reached, or answered with something other than the object
 * - `io`: the operating system refused
 */
export type OstreeErrorCode =
  | 'not-found'
  | 'exists'
  | 'corrupt'
  | 'invalid'
  | 'unsupported'
  | 'changed'
  | 'signature'
  | 'conflict'
  | 'forbidden'
  | 'no-space'
  | 'network'
  | 'io';

/** What an error says beside its message. */
export interface OstreeErrorOptions {
  /** What the caller can do about it. */
  hint?: string;
  cause?: unknown;
  /** Byte offset inside the object or file that the message is about. */
  offset?: number;
  /** Name of the object that the message is about, as `<checksum>.<type>`. */
  object?: string;
}

/** The one error class of this package. The message says what is wrong and where; the hint, what to do. */
export class OstreeError extends Error {
  readonly code: OstreeErrorCode;
  readonly hint: string | undefined;
  readonly offset: number | undefined;
  readonly object: string | undefined;

  /**
   * Makes one.
   *
   * @param message says what is wrong, and where
   */
  constructor(code: OstreeErrorCode, message: string, options: OstreeErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = 'OstreeError';
    this.code = code;
    this.hint = options.hint;
    this.offset = options.offset;
    this.object = options.object;
  }
}

/** The `code` of a Node system error (`ENOENT`, …), or undefined for anything else. */
export function systemCode(error: unknown): string | undefined {
  return error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : undefined;
}
