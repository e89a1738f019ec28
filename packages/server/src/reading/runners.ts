import type { RunnerOffer } from '@treeline/runner';
import type { Runner } from '../api/schema.ts';
import type { Queryable } from '../database/open.ts';
import { time } from './time.ts';

/** A runner that polls or beats at least this often is there. Longer than any long poll. */
const ONLINE_MS = 60_000;

export interface RunnerState {
  offer: RunnerOffer;
  online: boolean;
  /** Has at least one job. */
  busy: boolean;
  embedded: boolean;
  lastSeen: number;
  executions: string[];
}

/** Every runner that ever asked for work, by name. */
export async function runnerStates(db: Queryable): Promise<RunnerState[]> {
  const rows = await db.selectFrom('runners').selectAll().orderBy('name').execute();
  const leased = await db
    .selectFrom('executions')
    .select(['id', 'runner'])
    .where('state', '=', 'leased')
    .where('kind', '!=', 'compose')
    .execute();
  return rows.map((row) => {
    const executions = leased.filter((execution) => execution.runner === row.name).map((execution) => execution.id);
    return {
      offer: JSON.parse(row.offer) as RunnerOffer,
      online: executions.length > 0 || row.last_seen > Date.now() - ONLINE_MS,
      busy: executions.length > 0,
      embedded: row.embedded === 1,
      lastSeen: row.last_seen,
      executions,
    };
  });
}

export function runnerView(state: RunnerState): Runner {
  const { name, arch, cpus, memoryBytes, gpu, labels, emulates, sandbox } = state.offer;
  return {
    ...{ name, arch, cpus, memoryBytes, gpu, labels, emulates, sandbox },
    embedded: state.embedded,
    online: state.online,
    lastSeen: time(state.lastSeen),
    executions: state.executions,
  };
}
