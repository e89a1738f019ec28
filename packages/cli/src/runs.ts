import type { Run, RunDetail } from '@treeline/server';
import type { Client } from './connection/client.ts';
import { CliError } from './errors.ts';

/** A run by number or id; the newest one when none is named. Throws `not-found`. */
export async function fetchRun(client: Client, run: string | undefined): Promise<RunDetail> {
  const id = run === undefined ? (await newestRun(client)).id : runId(run);
  return client.get<RunDetail>(`runs/${encodeURIComponent(id)}`);
}

/** The id of a run: people say its number. */
export function runId(run: string): string {
  return /^\d+$/.test(run) ? `run-${run}` : run;
}

async function newestRun(client: Client): Promise<Run> {
  const { runs } = await client.get<{ runs: Run[] }>('runs', { limit: 1 });
  const [newest] = runs;
  if (newest) return newest;
  throw new CliError('not-found', 'Nothing has run yet.', {
    hint: 'A push to a project starts a run; so does: treeline run',
  });
}

/** Whether nothing more will happen in a run. */
export function isOver(run: Run): boolean {
  return run.state !== 'running';
}
