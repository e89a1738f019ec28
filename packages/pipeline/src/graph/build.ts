import { BUILT_IN_PROJECT } from '../built-in.ts';
import { type Collector, collectDiagnostics } from '../diagnostic/collector.ts';
import { nearest } from '../diagnostic/nearest.ts';
import { type ArtifactId, artifactId, type Job, type JobId, jobId, type Pipeline } from '../model.ts';
import { findCycles } from './cycle.ts';
import type { Dependency, Graph, GraphJob, PublishStep } from './graph.ts';
import { sortTopologically } from './order.ts';
import { buildPublishes } from './publishes.ts';
import { artifactReferences, explainMissingArtifact } from './references.ts';

type Place = { readonly job: Job; readonly pipeline: Pipeline };

/**
 * Puts the pipelines of all projects together. The order of `pipelines` does not matter.
 * Errors: `invalid-graph` with a diagnostic at every reference that does not resolve, at one reference of every cycle,
 * and at every publish step that gets in the way of another one.
 */
export function buildGraph(pipelines: readonly Pipeline[]): Graph {
  const collector = collectDiagnostics();
  const sorted = [...pipelines].sort((a, b) => (a.project < b.project ? -1 : 1));
  const places = new Map<JobId, Place>();
  const artifacts = new Map<ArtifactId, JobId>();
  for (const [i, pipeline] of sorted.entries()) {
    if (pipeline.project === sorted[i + 1]?.project) {
      const message = `project "${pipeline.project}" is there twice`;
      collector.report(pipeline, { line: 1, column: 1 }, { message, hint: 'give each project a name of its own' });
    }
    for (const job of pipeline.jobs) {
      places.set(job.id, { job, pipeline });
      for (const { name } of job.outputs) artifacts.set(`${pipeline.project}/${name}`, job.id);
    }
  }
  const scope = { artifacts, projects: new Set(sorted.map((pipeline) => pipeline.project)), collector };
  const jobs = new Map<JobId, GraphJob>();
  for (const [id, place] of places) jobs.set(id, { job: place.job, dependencies: resolve(place, places, scope) });
  const publishes: PublishStep[] = buildPublishes(sorted, { artifacts, jobs: places, collector });
  const waits = new Map([...jobs].map(([id, { dependencies }]) => [id, dependencies.map(({ on }) => on)]));
  const { order, rest } = sortTopologically(waits);
  if (rest.size > 0) {
    for (const cycle of findCycles(waits, rest)) reportCycle(cycle as JobId[], { jobs, places, collector });
  }
  collector.throwIfAny('invalid-graph');
  return { jobs, order: order as JobId[], artifacts, publishes };
}

type Scope = {
  readonly artifacts: ReadonlyMap<ArtifactId, JobId>;
  readonly projects: ReadonlySet<string>;
  readonly collector: Collector;
};

function resolve({ job, pipeline }: Place, places: ReadonlyMap<JobId, Place>, scope: Scope): Dependency[] {
  const dependencies: Dependency[] = [];
  for (const { reason, name, artifact } of artifactReferences(job)) {
    // It is there before any job, and the file was checked for what there is.
    if (artifact.project === BUILT_IN_PROJECT) continue;
    const on = scope.artifacts.get(artifactId(artifact));
    if (on) dependencies.push({ on, reason, name, position: artifact.position });
    else scope.collector.report(pipeline, artifact.position, explainMissingArtifact(artifact, job, scope));
  }
  for (const { job: name, position } of job.needs) {
    const on = jobId(pipeline.project, name);
    if (places.has(on)) {
      dependencies.push({ on, reason: 'needs', name, position });
      continue;
    }
    const meant = nearest(
      name,
      pipeline.jobs.map((other) => other.name),
    );
    const message = `job "${job.name}" needs a job "${name}", which project "${pipeline.project}" does not have`;
    scope.collector.report(pipeline, position, { message, hint: meant && `did you mean "${meant}"?` });
  }
  return dependencies;
}

function reportCycle(
  cycle: readonly JobId[],
  {
    jobs,
    places,
    collector,
  }: { jobs: ReadonlyMap<JobId, GraphJob>; places: ReadonlyMap<JobId, Place>; collector: Collector },
): void {
  const edges = cycle.map((id, i) => {
    const on = cycle[(i + 1) % cycle.length]!;
    return { id, dependency: jobs.get(id)!.dependencies.find((dependency) => dependency.on === on)! };
  });
  const path = edges.map(({ dependency }) => ` -> ${dependency.on} (${edgeText(dependency)})`).join('');
  const waits = cycle.length === 1 ? 'a job waits for itself' : 'jobs wait for each other in a circle';
  const first = edges[0]!;
  const where = edges.map(({ id, dependency: { position } }) => {
    const { project, file } = places.get(id)!.pipeline;
    return `${project}: ${file}:${position.line}:${position.column}`;
  });
  const isOwnImage = cycle.length === 1 && first.dependency.reason === 'image';
  collector.report(places.get(first.id)!.pipeline, first.dependency.position, {
    message: `${waits}: ${first.id}${path}`,
    hint: isOwnImage
      ? `give "${first.id}" another image, for example "image: host"`
      : `take out one of these: ${where.join(', ')}`,
  });
}

function edgeText({ reason, name }: Dependency): string {
  if (reason === 'needs') return 'needs';
  return reason === 'input' ? `input ${name}` : `${reason} ${name}`;
}
