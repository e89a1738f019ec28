import { nextNumber } from '../database/counter.ts';
import type { Queryable } from '../database/open.ts';
import { ServerError } from '../errors.ts';
import type { EventLog } from '../events/log.ts';
import type { RunRow } from './tables.ts';

export interface NewRun {
  reason: string;
  /** The push that starts it. */
  trigger?: { project: string; branch: string; revision: string };
  /** Revision of a project, instead of its newest. */
  revisions?: ReadonlyMap<string, string>;
}

/**
 * Makes a run: its manifest is the newest revision of every project, with those of `revisions` instead. Planning comes
 * later (`advance.ts`). Call in a transaction, with what makes the run necessary.
 *
 * @throws ServerError `unprocessable` when there is nothing to run.
 */
export async function createRun(trx: Queryable, events: EventLog, run: NewRun): Promise<RunRow> {
  const number = await nextNumber(trx, 'runs');
  const row: RunRow = {
    id: `run-${number}`,
    number,
    state: 'running',
    reason: run.reason,
    trigger_project: run.trigger?.project ?? null,
    trigger_branch: run.trigger?.branch ?? null,
    trigger_revision: run.trigger?.revision ?? null,
    error: null,
    created_at: Date.now(),
    finished_at: null,
  };
  await trx.insertInto('runs').values(row).execute();
  const projects = await trx.selectFrom('projects').select(['name', 'head']).execute();
  const manifest = projects
    .map((project) => ({
      run_id: row.id,
      project: project.name,
      revision: run.revisions?.get(project.name) ?? project.head,
    }))
    .filter((entry): entry is typeof entry & { revision: string } => entry.revision !== null);
  if (manifest.length === 0) {
    throw new ServerError('unprocessable', 'there is nothing to run: no project has a revision in the store', {
      hint: 'Add a project, or look at why none could be fetched.',
    });
  }
  await trx.insertInto('run_manifests').values(manifest).execute();
  await events.append(
    'run.created',
    { run: row.id, number, reason: run.reason, ...(run.trigger ? { trigger: run.trigger } : {}) },
    trx,
  );
  return row;
}
