import type { Run, RunDetail } from '@treeline/server';
import type { Client } from './connection/client.ts';
import { CliError } from './errors.ts';

/** A run by number or id; the newest one when none is named. Throws `not-found`. */
export async function fetchRun(client: Client, run: string | undefined): Promise<RunDetail> {
  try {
    return await client.get<RunDetail>(`runs/${encodeURIComponent(run ?? 'latest')}`);
  } catch (error) {
    if (run !== undefined || !(error instanceof CliError) || error.code !== 'not-found') throw error;
    throw new CliError('not-found', 'Nothing has run yet.', {
      cause: error,
      hint: 'A push to a project starts a run; so does: treeline run',
    });
  }
}

/** Whether nothing more will happen in a run. */
export function isOver(run: Run): boolean {
  return run.state !== 'running';
}
