import { PipelineError } from '../diagnostic/diagnostic.ts';
import type {
  BoardKeyDocument,
  ComposeKeyDocument,
  KeyDocument,
  KeyLayer,
  KeyPlatform,
  RunKeyDocument,
} from '../key/document.ts';
import type { ArtifactReference, BoardJob, CommandJob, ComposeJob, Job, Layer, Tree } from '../model.ts';
import { emulatedPlatform, realPlatform } from './platform.ts';
import type { PlanState } from './state.ts';

/** Finds the tree of an artifact whose maker has passed. */
export type TreeOf = (artifact: ArtifactReference) => Tree;

/**
 * The key documents under which a job's result may be found, best first: made for real, then, where the policy
 * emulates one of the job's demands, made by emulation. The last one is the one to execute under.
 * Errors: `invalid-state` when the state lacks the job's source.
 */
export function keyDocuments(job: Job, state: PlanState, treeOf: TreeOf): [KeyDocument, ...KeyDocument[]] {
  if (job.kind === 'compose') return [composeDocument(job, state, treeOf)];
  if (job.kind === 'board') return [boardDocument(job, state, treeOf)];
  const real = realPlatform(job.runsOn, state.platform);
  const emulated = emulatedPlatform(job.runsOn, state.platform);
  const first = runDocument(job, { state, treeOf, platform: real });
  return emulated.emulated.length === 0 ? [first] : [first, { ...first, platform: emulated }];
}

function runDocument(
  job: CommandJob,
  { state, treeOf, platform }: { state: PlanState; treeOf: TreeOf; platform: KeyPlatform },
): RunKeyDocument {
  return {
    version: 1,
    kind: 'run',
    command: job.command,
    image: job.image.kind === 'host' ? { host: state.platform.hostImage } : { tree: plain(treeOf(job.image)) },
    source: sourceOf(job, state),
    inputs: Object.fromEntries(job.inputs.map((input) => [input.name, plain(treeOf(input.artifact))])),
    environment: job.environment,
    platform,
    network: job.network,
    ...(job.root ? { root: true } : {}),
    outputs: Object.fromEntries(job.outputs.map((output) => [output.name, output.path])),
  };
}

function composeDocument(job: ComposeJob, state: PlanState, treeOf: TreeOf): ComposeKeyDocument {
  const source = sourceOf(job, state);
  const layers = job.layers.map((layer) => keyLayer(layer, source, { job, treeOf }));
  return { version: 1, kind: 'compose', layers, output: job.outputs[0]!.name };
}

/** A system that is released already is tried by itself: there is nothing to go back to. */
function boardDocument(job: BoardJob, state: PlanState, treeOf: TreeOf): BoardKeyDocument {
  const system = plain(treeOf(job.system));
  const released = job.over && state.released?.get(`${job.over.repository}:${job.over.channel}`);
  const isSame = released?.contents === system.contents && released.meta === system.meta;
  return {
    version: 1,
    kind: 'board',
    board: 'name' in job.board ? job.board.name : job.board.file,
    source: sourceOf(job, state),
    system,
    over: released && !isSame ? plain(released) : null,
    faults: job.faults,
    treeline: state.treeline ?? '',
  };
}

function keyLayer(layer: Layer, source: Tree | null, { job, treeOf }: { job: ComposeJob; treeOf: TreeOf }): KeyLayer {
  if (layer.kind === 'remove') return { remove: layer.path };
  if (layer.kind === 'tree') return { tree: plain(treeOf(layer.artifact)), from: layer.from, at: layer.at };
  if (source === null) throw missingSource(job);
  return { source, from: layer.folder === '.' ? '/' : `/${layer.folder}`, at: layer.at };
}

function sourceOf(job: Job, state: PlanState): Tree | null {
  if (job.paths?.length === 0) return null;
  const source = state.sources.get(job.id);
  if (source === undefined) throw missingSource(job);
  return plain(source);
}

function missingSource(job: Job): PipelineError {
  return new PipelineError('invalid-state', `the state has no source tree of ${job.id}`, {
    hint: 'give one for every job whose paths are not []',
  });
}

/** A caller's tree may carry more (a commit, a path), which is not what it is. */
function plain(tree: Tree): Tree {
  return { contents: tree.contents, meta: tree.meta };
}
