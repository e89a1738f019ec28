import type { Core } from '../core.ts';
import { advanceRun } from './advance.ts';
import type { PlanningTools } from './plan-run.ts';
import { createResults } from './results.ts';
import { createSourceTrees } from './source-trees.ts';

/** Looks at every running run again after this long, whatever happened: what was missed once is not missed for ever. */
const LOOK_AGAIN_MS = 10_000;
const AFTER_ERROR_MS = 1000;

/**
 * Advances the running runs whenever something changed, until the server closes. Newer runs come first: they say what
 * of the older ones is superseded.
 */
export async function runScheduler(core: Core): Promise<void> {
  const tools: PlanningTools = { core, results: createResults(core.db), sourceTrees: createSourceTrees(core) };
  while (!core.signal.aborted) {
    const seen = core.runs.version;
    let wait = LOOK_AGAIN_MS;
    try {
      const runs = await core.db
        .selectFrom('runs')
        .selectAll()
        .where('state', '=', 'running')
        .orderBy('number', 'desc')
        .execute();
      for (const run of runs) {
        if (core.signal.aborted) return;
        try {
          await advanceRun(tools, run);
        } catch (error) {
          wait = AFTER_ERROR_MS;
          core.log.error({ err: error, run: run.id }, 'a run could not be advanced');
        }
      }
    } catch (error) {
      wait = AFTER_ERROR_MS;
      core.log.error({ err: error }, 'the runs could not be read');
    }
    await core.runs.past(seen, wait, core.signal);
  }
}
