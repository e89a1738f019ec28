/** Counts of one or more runs of node's test runner, by its own words. */
export type Totals = {
  tests: number;
  suites: number;
  passed: number;
  failed: number;
  cancelled: number;
  skipped: number;
  todo: number;
  /** Where each failure is, one line each. */
  failures: string[];
};

export function emptyTotals(): Totals {
  return { tests: 0, suites: 0, passed: 0, failed: 0, cancelled: 0, skipped: 0, todo: 0, failures: [] };
}

export function addTotals(a: Totals, b: Totals): Totals {
  return {
    tests: a.tests + b.tests,
    suites: a.suites + b.suites,
    passed: a.passed + b.passed,
    failed: a.failed + b.failed,
    cancelled: a.cancelled + b.cancelled,
    skipped: a.skipped + b.skipped,
    todo: a.todo + b.todo,
    failures: [...a.failures, ...b.failures],
  };
}

/** The closing lines exactly as node's spec reporter prints them, so that what reads those can read these. */
export function closingLines(totals: Totals, durationMs: number): string[] {
  return [
    `ℹ tests ${totals.tests}`,
    `ℹ suites ${totals.suites}`,
    `ℹ pass ${totals.passed}`,
    `ℹ fail ${totals.failed}`,
    `ℹ cancelled ${totals.cancelled}`,
    `ℹ skipped ${totals.skipped}`,
    `ℹ todo ${totals.todo}`,
    `ℹ duration_ms ${durationMs.toFixed(1)}`,
  ];
}
