export type RunnerErrorCode =
  /** Settings that cannot be run with. */
  | 'bad-settings'
  /** There is no usable sandbox, or this job cannot run in the one there is. */
  | 'no-sandbox'
  /** The sandbox itself failed: the job's script did not run. */
  | 'sandbox-failed'
  /** Another runner has this work folder. */
  | 'busy'
  /** The server does not take this runner's token. */
  | 'unauthorized'
  /** What a job needs could not be read from the store, or not be written to the runner's disk. */
  | 'checkout-failed'
  /** A job was ended from outside: cancelled, its lease lost, or its runner stopped. */
  | 'stopped';

/** Base of this package's errors. `message` says what and where, `hint` what to do about it. */
export class RunnerError extends Error {
  override name = 'RunnerError';
  readonly code: RunnerErrorCode;
  readonly hint: string | undefined;

  constructor(code: RunnerErrorCode, message: string, o: { hint?: string; cause?: unknown } = {}) {
    super(message, o.cause === undefined ? undefined : { cause: o.cause });
    this.code = code;
    this.hint = o.hint;
  }
}
