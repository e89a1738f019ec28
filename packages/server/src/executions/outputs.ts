import { hasClosure, OstreeError, type Tree, type Variant, withTransaction, writeCommit } from '@treeline/ostree';
import type { Provenance } from '../api/schema.ts';
import type { Core } from '../core.ts';
import { ServerError } from '../errors.ts';
import type { ExecutionSpec, StoredOutputs } from './spec.ts';

/** Name of the metadata entry of an artifact commit: JSON `Provenance` as a string. */
export const PROVENANCE = 'treeline.provenance';

/** Ref of a result's output in the store. */
function resultRef(key: string, output: string): string {
  return `results/${key}/${output}`;
}

/**
 * Makes commits of an execution's output trees and sets their refs. The trees must be whole: nothing enters the cache
 * that cannot be checked out.
 *
 * @throws ServerError `outputs-incomplete` when outputs are missing, unknown, or not whole in the store.
 */
export async function commitOutputs(
  core: Core,
  spec: ExecutionSpec,
  trees: Readonly<Record<string, Tree>>,
): Promise<StoredOutputs> {
  const names = Object.keys(trees);
  const missing = spec.outputs.filter((name) => !Object.hasOwn(trees, name));
  const unknown = names.filter((name) => !spec.outputs.includes(name));
  if (missing.length > 0 || unknown.length > 0) {
    const words = [
      ...(missing.length > 0 ? [`lacks ${missing.join(', ')}`] : []),
      ...(unknown.length > 0 ? [`has the undeclared ${unknown.join(', ')}`] : []),
    ];
    throw new ServerError('outputs-incomplete', `the result of ${spec.project}/${spec.job} ${words.join(' and ')}`);
  }
  return await withTransaction(core.store, async (tx) => {
    // In here, so that no prune comes between: until they have a commit, they are garbage.
    for (const [name, tree] of Object.entries(trees)) await checkWhole(core, name, tree);
    const outputs: StoredOutputs = {};
    for (const [name, tree] of Object.entries(trees)) {
      const commit = await writeCommit(tx, {
        tree,
        subject: `${spec.project}/${name}`,
        body: bodyOf(spec),
        metadata: [[PROVENANCE, provenanceVariant(spec, name)]],
      });
      tx.setRef(resultRef(spec.key, name), commit);
      outputs[name] = { commit, tree: { contents: tree.contents, meta: tree.meta } };
    }
    return outputs;
  });
}

async function checkWhole(core: Core, name: string, tree: Tree): Promise<void> {
  let missing: Awaited<ReturnType<typeof hasClosure>>;
  try {
    missing = await hasClosure(core.store, tree);
  } catch (error) {
    if (!(error instanceof OstreeError)) throw error;
    throw new ServerError('outputs-incomplete', `output ${name} cannot be read: ${error.message}`, { cause: error });
  }
  if (missing.length === 0) return;
  throw new ServerError(
    'outputs-incomplete',
    `output ${name} is not whole in the store: ${missing.length} objects are missing`,
    { hint: 'Write all objects of the outputs before completing.', data: { missing: missing.slice(0, 20) } },
  );
}

function provenanceVariant(spec: ExecutionSpec, artifact: string): Variant {
  const provenance: Provenance = {
    project: spec.project,
    job: spec.job,
    artifact,
    key: spec.key,
    run: spec.run,
    inputs: spec.inputs.map(({ name, commit }) => ({ name, commit })),
    ...(spec.source === undefined ? {} : { source: spec.source }),
    sources: [...spec.sources],
  };
  return { type: 's', value: JSON.stringify(provenance) };
}

/** For people who look with `ostree show`. */
function bodyOf(spec: ExecutionSpec): string {
  const lines = spec.sources.map(
    (source) => `${source.project} ${source.revision.slice(0, 12)} ${source.subject} (${source.url})`,
  );
  return [`Made by ${spec.project}/${spec.job} in ${spec.run} from:`, ...lines].join('\n');
}
