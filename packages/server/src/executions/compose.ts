import { compose, type Layer, OstreeError, type Tree, withTransaction } from '@treeline/ostree';
import type { KeyLayer } from '@treeline/pipeline';
import type { Core } from '../core.ts';
import { messageOf } from '../errors.ts';
import type { Leases } from './leases.ts';
import { finishExecution } from './queue.ts';
import { specOf } from './spec.ts';
import type { ExecutionRow } from './tables.ts';

/**
 * Executes compositions in the server itself until it closes: only touched dirtrees are read, so there is nothing to
 * gain from handing them to a runner.
 */
export async function runComposer(core: Core, leases: Leases): Promise<void> {
  while (!core.signal.aborted) {
    const seen = core.work.version;
    try {
      for (let next = await leases.claimCompose(); next; next = await leases.claimCompose()) {
        await composeOne(core, leases, next);
        if (core.signal.aborted) return;
      }
    } catch (error) {
      core.log.error({ err: error }, 'a composition could not be recorded');
      await leases.endSession(core.session, { count: true, why: `the server failed: ${messageOf(error)}` });
    }
    await core.work.past(seen, 5000, core.signal);
  }
}

async function composeOne(core: Core, leases: Leases, execution: ExecutionRow): Promise<void> {
  const spec = specOf(execution);
  const lease = { id: execution.id, token: execution.token };
  if (spec.work.kind !== 'compose') return;
  const layers = spec.work.layers.map(layerOf);
  let tree: Tree;
  try {
    tree = await withTransaction(core.store, (tx) => compose(tx, layers));
  } catch (error) {
    if (!(error instanceof OstreeError)) throw error;
    const failure = { reason: 'compose', message: error.message };
    await core.db.transaction().execute((trx) => finishExecution(trx, core, lease, { outcome: 'failed', failure }));
    core.runs.notify();
    return;
  }
  await leases.complete(execution.id, execution.token, { status: 'passed', outputs: { [spec.outputs[0]!]: tree } });
}

function layerOf(layer: KeyLayer): Layer {
  if ('remove' in layer) return { remove: layer.remove };
  return { tree: 'tree' in layer ? layer.tree : layer.source, from: layer.from, at: layer.at };
}
