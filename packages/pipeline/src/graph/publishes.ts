import type { Collector } from '../diagnostic/collector.ts';
import { nearest } from '../diagnostic/nearest.ts';
import { type ArtifactId, artifactId, type JobId, jobId, type Pipeline, type Publish } from '../model.ts';
import type { PublishStep } from './graph.ts';

type Scope = {
  readonly artifacts: ReadonlyMap<ArtifactId, JobId>;
  readonly jobs: { has(id: JobId): boolean };
  readonly collector: Collector;
};

/** The publish steps of all projects, by project and then in the order of the file. */
export function buildPublishes(pipelines: readonly Pipeline[], scope: Scope): PublishStep[] {
  const steps: PublishStep[] = [];
  const taken: { step: PublishStep; at: string }[] = [];
  for (const pipeline of pipelines) {
    for (const publish of pipeline.publishes) {
      const step = buildStep(publish, pipeline, scope);
      if (!step) continue;
      const other = taken.find(({ step: other }) => getsInTheWay(step, other));
      if (other) {
        const same = other.step.id === step.id;
        scope.collector.report(pipeline, publish.position, {
          message: same
            ? `channel "${step.channel}" of repository "${step.repository}" is already published to at ${other.at}`
            : `channel "${step.channel}" cannot be beside channel "${other.step.channel}", published at ${other.at}`,
          hint: same
            ? 'publish to another channel, or take out one of the two'
            : 'a ref is a file, so no channel can be the folder of another: rename one of the two',
        });
      }
      const { line, column } = publish.position;
      taken.push({ step, at: `${pipeline.project}: ${pipeline.file}:${line}:${column}` });
      steps.push(step);
    }
  }
  return steps;
}

function buildStep(publish: Publish, pipeline: Pipeline, scope: Scope): PublishStep | undefined {
  const { project } = pipeline;
  const maker = scope.artifacts.get(artifactId(publish.artifact));
  if (!maker) {
    const own = pipeline.jobs.flatMap((job) => job.outputs.map((output) => output.name));
    const meant = nearest(publish.artifact.artifact, own);
    scope.collector.report(pipeline, publish.artifact.position, {
      message: `no job of project "${project}" makes the artifact "${publish.artifact.artifact}" that is to be published`,
      hint: meant && `did you mean "${meant}"?`,
    });
  }
  const after: JobId[] = [];
  for (const { job, position } of publish.after) {
    const id = jobId(project, job);
    if (scope.jobs.has(id)) {
      after.push(id);
      continue;
    }
    const meant = nearest(
      job,
      pipeline.jobs.map((other) => other.name),
    );
    scope.collector.report(pipeline, position, {
      message: `publishing waits for a job "${job}", which project "${project}" does not have`,
      hint: meant && `did you mean "${meant}"?`,
    });
  }
  if (!maker) return undefined;
  const { repository, channel, artifact } = publish;
  const id = `${repository}:${channel}`;
  return { id, project, artifact, repository, channel, maker, after: [...new Set([maker, ...after])] };
}

/** Refs are files: `robot` and `robot/edge` cannot both be. */
function getsInTheWay(a: PublishStep, b: PublishStep): boolean {
  if (a.repository !== b.repository) return false;
  return a.channel === b.channel || a.channel.startsWith(`${b.channel}/`) || b.channel.startsWith(`${a.channel}/`);
}
