import {
  type ArtifactReference,
  artifactId,
  type BoardJob,
  type BoardKeyDocument,
  BUILT_IN_PROJECT,
  type CommandJob,
  isBuiltIn,
  type JobId,
  type KeyDocument,
} from '@treeline/pipeline';
import type { Source } from '../api/schema.ts';
import type { BuiltIn } from '../built-ins/built-ins.ts';
import { ServerError } from '../errors.ts';
import type { ExecutionSpec } from '../executions/spec.ts';
import { sourceOf } from './manifest.ts';
import type { PlannedRun } from './plan-run.ts';
import type { Results } from './results.ts';

/** Commits that go into a job in a run. */
export interface JobInputs {
  /** Artifacts: under the input's name, `image`, or the artifact's id for layers. */
  inputs: { name: string; commit: string }[];
  /** Its own repository's revision, if it sees any of it. */
  source: Source | null;
  /** Every git revision that goes in, transitively. */
  sources: Source[];
}

/**
 * What goes into a job of which everything that it needs has been made.
 *
 * @throws ServerError `internal` when something of that is not known: a result must say all that it was made from
 */
export function jobInputs(planned: PlannedRun, results: Results, id: JobId): JobInputs {
  const { job } = planned.graph.jobs.get(id)!;
  const inputs: JobInputs['inputs'] = [];
  const own = planned.manifest.find((revision) => revision.project === job.project);
  const source = own && job.paths?.length !== 0 ? sourceOf(own) : null;
  const sources: Source[] = source ? [source] : [];
  const use = (name: string, artifact: ArtifactReference): void => {
    const builtIn = builtInOf(planned, artifact);
    if (builtIn) {
      inputs.push({ name, commit: builtIn.commit });
      return;
    }
    const maker = planned.plan.steps.get(planned.graph.artifacts.get(artifactId(artifact))!);
    const result = maker && 'key' in maker && maker.key ? results.get(maker.key) : undefined;
    const output = result?.outputs[artifact.artifact];
    if (!result || !output) {
      throw new ServerError('internal', `${id} takes ${artifactId(artifact)}, of which no result is known`);
    }
    inputs.push({ name, commit: output.commit });
    sources.push(...result.sources);
  };
  if (job.kind === 'compose') {
    for (const layer of job.layers) if (layer.kind === 'tree') use(artifactId(layer.artifact), layer.artifact);
  } else if (job.kind === 'board') {
    use('system', job.system);
    const released = planned.released.get(channelId(job));
    if (released) inputs.push({ name: 'over', commit: released.commit });
  } else {
    if (job.image.kind === 'artifact') use('image', job.image);
    for (const input of job.inputs) use(input.name, input.artifact);
  }
  return { inputs, source, sources: distinct(sources) };
}

function builtInOf({ builtIns }: PlannedRun, { project, artifact }: ArtifactReference): BuiltIn | undefined {
  return project === BUILT_IN_PROJECT && isBuiltIn(artifact) ? builtIns.get(artifact) : undefined;
}

/** What is executed for a job that is ready under a key. */
export function executionSpec(
  planned: PlannedRun,
  results: Results,
  ready: { id: JobId; key: string; document: KeyDocument },
): ExecutionSpec {
  const { job } = planned.graph.jobs.get(ready.id)!;
  const { inputs, source, sources } = jobInputs(planned, results, ready.id);
  return {
    project: job.project,
    job: job.name,
    run: planned.run.id,
    key: ready.key,
    work: workOf(planned, results, ready),
    outputs: job.outputs.map((output) => output.name),
    inputs,
    source: source?.commit ?? null,
    sources,
  };
}

/** What the device of the job follows: where nothing is published, the name of the job, which is a ref as well. */
function channelOf(job: BoardJob): string {
  return job.over?.channel ?? `lab/${job.project}/${job.name}`;
}

function channelId({ over }: BoardJob): string {
  return over ? `${over.repository}:${over.channel}` : '';
}

const BOARD_DISK_BYTES = 64 * 1024 ** 3;

function boardWork(
  planned: PlannedRun,
  results: Results,
  { id, key, document }: { id: JobId; key: string; document: BoardKeyDocument },
): ExecutionSpec['work'] {
  const job = planned.graph.jobs.get(id)!.job as BoardJob;
  const { inputs } = jobInputs(planned, results, id);
  const commitOf = (name: string) => inputs.find((input) => input.name === name)?.commit ?? null;
  return {
    kind: 'board',
    job: {
      project: job.project,
      job: job.name,
      run: planned.run.id,
      key,
      image: { host: true },
      source: document.source,
      inputs: [],
      command: '',
      environment: {},
      network: false,
      timeoutSeconds: job.timeoutSeconds,
      diskBytes: BOARD_DISK_BYTES,
      outputs: job.outputs.map(({ name, path }) => ({ name, path })),
    },
    trial: {
      board: job.board,
      system: commitOf('system')!,
      over: document.over === null ? null : commitOf('over'),
      faults: [...job.faults],
      channel: channelOf(job),
    },
  };
}

function workOf(
  planned: PlannedRun,
  results: Results,
  { id, key, document }: { id: JobId; key: string; document: KeyDocument },
): ExecutionSpec['work'] {
  if (document.kind === 'compose') return { kind: 'compose', layers: document.layers };
  if (document.kind === 'board') return boardWork(planned, results, { id, key, document });
  // The document is of a command job, so the job is one.
  const job = planned.graph.jobs.get(id)!.job as CommandJob;
  return {
    kind: 'command',
    platform: document.platform,
    job: {
      project: job.project,
      job: job.name,
      run: planned.run.id,
      key,
      image: 'tree' in document.image ? { tree: document.image.tree } : { host: true },
      source: document.source,
      inputs: Object.entries(document.inputs).map(([name, tree]) => ({ name, tree })),
      command: document.command,
      environment: { ...document.environment },
      network: document.network,
      ...(document.root ? { root: true } : {}),
      timeoutSeconds: job.timeoutSeconds,
      diskBytes: job.diskBytes,
      ...(job.runsOn.memoryBytes === null ? {} : { memoryBytes: job.runsOn.memoryBytes }),
      outputs: Object.entries(document.outputs).map(([name, path]) => ({ name, path })),
    },
  };
}

function distinct(sources: readonly Source[]): Source[] {
  const byId = new Map(sources.map((source) => [`${source.project}@${source.revision}`, source]));
  return [...byId.values()].sort((a, b) => (a.project < b.project ? -1 : a.project > b.project ? 1 : 0));
}
