/**
 * What went wrong, as a stable code:
 *
 * - `invalid`: the caller's input is malformed, such as a board file
 * - `not-found`: what was named is not there: a board, a commit, a folder
 * - `tool-missing`: a program that is needed here is not installed
 * - `tool-failed`: a program that was started did not do its work
 * - `system-incomplete`: the root file system lacks what a system that boots needs
 * - `exists`: what would be written is there already
 * - `board-trouble`: a board itself, its firmware, its cable or its lab failed: not the system that it was to run
 * - `not-possible`: this board cannot do what it was asked for
 * - `not-seen`: something did not show on a console in time
 */
export type BoardErrorCode =
  | 'invalid'
  | 'not-found'
  | 'tool-missing'
  | 'tool-failed'
  | 'system-incomplete'
  | 'exists'
  | 'board-trouble'
  | 'not-possible'
  | 'not-seen';

/** The one error class of this package. The message says what happened and where; the hint, what to do. */
export class BoardError extends Error {
  override readonly name = 'BoardError';
  readonly code: BoardErrorCode;
  readonly hint: string | undefined;

  constructor(code: BoardErrorCode, message: string, o: { hint?: string; cause?: unknown } = {}) {
    super(message, o.cause === undefined ? undefined : { cause: o.cause });
    this.code = code;
    this.hint = o.hint;
  }
}
