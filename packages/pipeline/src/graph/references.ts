import type { FaultText } from '../diagnostic/collector.ts';
import { nearest } from '../diagnostic/nearest.ts';
import type { ArtifactId, ArtifactReference, Job } from '../model.ts';
import type { Dependency } from './graph.ts';

export type JobArtifact = Pick<Dependency, 'name'> & {
  readonly reason: Exclude<Dependency['reason'], 'needs'>;
  readonly artifact: ArtifactReference;
};

/** All artifacts that a job is made of. */
export function artifactReferences(job: Job): JobArtifact[] {
  if (job.kind === 'compose') {
    return job.layers.flatMap((layer) =>
      layer.kind === 'tree' ? [{ reason: 'layer', name: layer.artifact.artifact, artifact: layer.artifact }] : [],
    );
  }
  if (job.kind === 'board') {
    return [{ reason: 'system', name: job.system.artifact, artifact: job.system }];
  }
  const inputs = job.inputs.map(({ name, artifact }) => ({ reason: 'input' as const, name, artifact }));
  const { image } = job;
  return image.kind === 'host' ? inputs : [{ reason: 'image', name: image.artifact, artifact: image }, ...inputs];
}

/** What to say of an artifact that nothing makes. */
export function explainMissingArtifact(
  { project, artifact }: ArtifactReference,
  job: Pick<Job, 'name' | 'project'>,
  known: { artifacts: ReadonlyMap<ArtifactId, unknown>; projects: ReadonlySet<string> },
): FaultText {
  const written = project === job.project ? artifact : `${project}/${artifact}`;
  if (!known.projects.has(project)) {
    const message = `job "${job.name}" uses "${written}", but there is no project "${project}"`;
    const meant = nearest(project, known.projects);
    if (meant) return { message, hint: `did you mean "${meant}/${artifact}"?` };
    return { message, hint: `add it with "treeline project add", or use one of: ${list(known.projects)}` };
  }
  const message = `job "${job.name}" uses "${written}", but no job of project "${project}" makes an artifact "${artifact}"`;
  const ids = [...known.artifacts.keys()];
  const inProject = ids.filter((id) => id.startsWith(`${project}/`)).map((id) => id.slice(project.length + 1));
  const meant = nearest(artifact, inProject);
  if (meant) return { message, hint: `did you mean "${project === job.project ? meant : `${project}/${meant}`}"?` };
  const elsewhere = ids.find((id) => id.endsWith(`/${artifact}`));
  if (elsewhere) return { message, hint: `did you mean "${elsewhere}"?` };
  if (inProject.length === 0)
    return { message, hint: `give a job of "${project}" an output: "outputs: [${artifact}]"` };
  return { message, hint: `artifacts of "${project}": ${list(inProject)}` };
}

/** Enough names to find the right one, not more than a screen takes. */
function list(names: Iterable<string>): string {
  const all = [...names].sort();
  return all.length <= 12 ? all.join(', ') : `${all.slice(0, 12).join(', ')}, …`;
}
