/**
 * What ends a verb early, and the exit code each of them has. The list is part of the command's contract: scripts
 * depend on it, `treeline --help` and the README print it.
 */
export const exitCodes = {
  ok: 0,
  failed: 1,
  usage: 2,
  unreachable: 3,
  'not-allowed': 4,
  'not-found': 5,
  conflict: 6,
  server: 7,
  defect: 70,
  interrupted: 130,
} as const;

export type CliErrorCode = Exclude<keyof typeof exitCodes, 'ok'>;

/** The exit codes in words, in the order `--help` shows them. */
export const exitCodeMeanings: ReadonlyArray<[number, string]> = [
  [exitCodes.ok, 'done'],
  [exitCodes.failed, 'it was tried and failed (a run or a job failed, a disk is full)'],
  [exitCodes.usage, 'the command line is wrong'],
  [exitCodes.unreachable, 'no server, or it does not answer'],
  [exitCodes['not-allowed'], 'the token is missing, wrong, or not allowed to do this'],
  [exitCodes['not-found'], 'no such project, run, job, commit, channel or device'],
  [exitCodes.conflict, 'it exists already, or somebody else was faster'],
  [exitCodes.server, 'the server failed, or its answer was not understood'],
  [exitCodes.defect, 'a defect in this program'],
  [exitCodes.interrupted, 'interrupted (Ctrl-C)'],
];

/** Everything this package throws. `message` says what happened to what, `hint` what to do next. */
export class CliError extends Error {
  readonly code: CliErrorCode;
  readonly hint: string | undefined;
  /** The server's own error code and request id, when the server refused. */
  readonly server: { code: string; requestId?: string } | undefined;

  constructor(
    code: CliErrorCode,
    message: string,
    options: { hint?: string | undefined; cause?: unknown; server?: { code: string; requestId?: string } } = {},
  ) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = 'CliError';
    this.code = code;
    this.hint = options.hint;
    this.server = options.server;
  }
}

/** Codes that the other packages' errors carry, as codes of this one; what is not listed is `failed`. */
const foreignCodes: Readonly<Record<string, CliErrorCode>> = {
  'not-found': 'not-found',
  exists: 'conflict',
  conflict: 'conflict',
  invalid: 'usage',
  usage: 'usage',
  unauthorized: 'not-allowed',
  forbidden: 'not-allowed',
  'not-allowed': 'not-allowed',
  unreachable: 'unreachable',
  'settings-invalid': 'usage',
  'bad-settings': 'usage',
  'data-folder-busy': 'conflict',
  busy: 'conflict',
  'not-enrolled': 'not-found',
  'already-enrolled': 'conflict',
  'enrolment-refused': 'not-allowed',
  'pin-mismatch': 'not-allowed',
  EADDRINUSE: 'conflict',
  EACCES: 'not-allowed',
  EPERM: 'not-allowed',
};

/**
 * Any thrown value as a CliError. Errors of other packages keep their message and hint; an abort is an interruption;
 * system errors (ENOSPC, EACCES) are failures; anything else is a defect and keeps its stack as the cause.
 */
export function toCliError(thrown: unknown): CliError {
  if (thrown instanceof CliError) return thrown;
  if (!(thrown instanceof Error)) return new CliError('defect', `Something that is no error was thrown: ${thrown}`);
  if (thrown.name === 'AbortError') return new CliError('interrupted', 'Interrupted.', { cause: thrown });
  const { code, hint, syscall } = thrown as { code?: unknown; hint?: unknown; syscall?: unknown };
  // Node gives its own complaints about wrong calls codes of the form ERR_…: those are defects.
  const expected = typeof code === 'string' && !code.startsWith('ERR_');
  if (expected && ('hint' in thrown || syscall !== undefined || code in foreignCodes)) {
    return new CliError(foreignCodes[code] ?? 'failed', thrown.message, {
      cause: thrown,
      hint: typeof hint === 'string' ? hint : systemHint(code),
    });
  }
  return new CliError('defect', `${thrown.name}: ${thrown.message}`, {
    cause: thrown,
    hint: 'This is a defect in treeline. TREELINE_DEBUG=1 shows where it happened.',
  });
}

function systemHint(code: string): string | undefined {
  switch (code) {
    case 'ENOSPC':
      return 'The disk is full: make room (df -h) and try again.';
    case 'EACCES':
    case 'EPERM':
      return 'The file or folder belongs to somebody else: look at its owner and mode (ls -ld).';
    case 'EADDRINUSE':
      return 'Something listens on that port already: stop it, or choose another one.';
    default:
      return undefined;
  }
}
