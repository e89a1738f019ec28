import { BUILT_IN_PROJECT, BUILT_INS, isBuiltIn } from '../built-in.ts';
import type { Collector, FaultText } from '../diagnostic/collector.ts';
import { nearest } from '../diagnostic/nearest.ts';
import { artifactReferences, explainMissingArtifact } from '../graph/references.ts';
import type { ArtifactReference, Image, Job, JobReference, Pipeline, Position } from '../model.ts';
import { isName, meant, nameFault, type Reader, readText, readTexts, shorten, type Value } from './value.ts';

/** What is wrong with the name of an artifact, or undefined. */
export function artifactFault(name: string): FaultText | undefined {
  if (name === 'host')
    return {
      message: '"host" cannot be the name of an artifact',
      hint: "as an image it means the runner's own system",
    };
  return nameFault('an artifact', name);
}

/** `artifact` of this project, or `project/artifact`. */
export function readArtifact(reader: Reader, value: Value, where: string): ArtifactReference | undefined {
  const text = readText(reader, value, { where, hint: 'write artifact, or project/artifact' });
  return text === undefined ? undefined : parseArtifact(reader, { text, position: value.position }, where);
}

function parseArtifact(
  reader: Reader,
  { text, position }: { text: string; position: Position },
  where: string,
): ArtifactReference | undefined {
  const parts = text.split('/');
  if (text === 'host') {
    reader.fault(position, {
      message: `${where}: "host" is the runner's own system, not an artifact`,
      hint: 'it can only be an image; name an artifact here',
    });
  } else if (parts.length <= 2 && parts.every(isName)) {
    const [project, artifact] = parts.length === 1 ? [reader.project, parts[0]!] : [parts[0]!, parts[1]!];
    if (project !== BUILT_IN_PROJECT || isBuiltIn(artifact)) return { project, artifact, position };
    const all = Object.keys(BUILT_INS);
    const there = all.map((name) => `${BUILT_IN_PROJECT}/${name}`).join(', ');
    const better = nearest(artifact, all);
    const hint = `${better ? `did you mean "${BUILT_IN_PROJECT}/${better}"? ` : ''}there are: ${there}`;
    reader.fault(position, { message: `${where}: nothing named "${shorten(text)}" comes with Treeline`, hint });
  } else {
    const better = text
      .trim()
      .replace(/^\/+|\/+$/g, '')
      .replace(/[:\s]+/, '/');
    const isBetter = better !== text && better.split('/').length <= 2 && better.split('/').every(isName);
    const hint = isBetter ? `did you mean "${better}"?` : 'write artifact for one of this project, or project/artifact';
    reader.fault(position, { message: `${where}: "${shorten(text)}" does not name an artifact`, hint });
  }
  return undefined;
}

export function readImage(reader: Reader, value: Value, where: string): Image | undefined {
  const hint = 'write "host", an artifact of this project, or project/artifact';
  const text = readText(reader, value, { where, hint });
  if (text === undefined) return undefined;
  if (text === 'host') return { kind: 'host' };
  if (isContainerImage(text)) {
    const message = `${where}: "${shorten(text)}" looks like a container image`;
    reader.fault(value.position, { message, hint: `an image is an artifact that a job made: ${hint}` });
    return undefined;
  }
  const reference = parseArtifact(reader, { text, position: value.position }, where);
  return reference && { kind: 'artifact', ...reference };
}

/** `debian:12`, `ghcr.io/a/b`: what other tools would fetch. */
function isContainerImage(text: string): boolean {
  const parts = text.split('/');
  return (parts.length > 2 && parts[0]!.includes('.')) || parts.at(-1)!.includes(':');
}

/** Names of jobs of this project, each once. */
export function readJobs(reader: Reader, value: Value | undefined, where: string): JobReference[] {
  if (!value) return [];
  const seen = new Map<string, JobReference>();
  for (const { text, position } of readTexts(reader, value, {
    where,
    hint: `write the names of jobs: ${where}: [test]`,
  })) {
    if (text.includes('/')) {
      reader.fault(position, {
        message: `${where}: "${shorten(text)}" is not a job of this project`,
        hint: 'a job waits for another project by having its artifact as an input',
      });
      continue;
    }
    const fault = nameFault('a job', text);
    if (fault) reader.fault(position, fault);
    else if (!seen.has(text)) seen.set(text, { job: text, position });
  }
  return [...seen.values()];
}

/**
 * Reports references inside the project that do not resolve. `declared` are the names in the file, also those of
 * jobs and artifacts that are otherwise faulty, so that one fault is not told twice.
 */
export function checkOwnReferences(
  pipeline: Pipeline,
  { jobs, artifacts }: { jobs: ReadonlySet<string>; artifacts: ReadonlySet<string> },
  collector: Collector,
): void {
  const { project } = pipeline;
  const known = {
    artifacts: new Map([...artifacts].map((name) => [`${project}/${name}` as const, true])),
    projects: new Set([project]),
  };
  const checkJobs = (references: readonly JobReference[], where: string) => {
    for (const { job, position } of references) {
      if (jobs.has(job)) continue;
      const hint =
        meant(job, jobs) ?? (jobs.size > 0 ? `jobs of this project: ${[...jobs].slice(0, 12).join(', ')}` : undefined);
      collector.report(pipeline, position, { message: `${where} needs a job "${job}", which is not there`, hint });
    }
  };
  const checkArtifact = (artifact: ArtifactReference, job: Pick<Job, 'name' | 'project'>) => {
    if (artifact.project !== project || artifacts.has(artifact.artifact)) return;
    collector.report(pipeline, artifact.position, explainMissingArtifact(artifact, job, known));
  };
  for (const job of pipeline.jobs) {
    checkJobs(job.needs, `job "${job.name}"`);
    for (const { artifact } of artifactReferences(job)) checkArtifact(artifact, job);
  }
  const checkMade = (artifact: ArtifactReference, where: string) => {
    if (artifact.artifact === '' || artifacts.has(artifact.artifact)) return;
    const own = [...artifacts].slice(0, 12).join(', ');
    collector.report(pipeline, artifact.position, {
      message: `${where}: no job makes an artifact "${artifact.artifact}"`,
      hint:
        meant(artifact.artifact, artifacts) ??
        (own ? `artifacts of this project: ${own}` : 'give a job an output first'),
    });
  };
  for (const { after, artifact } of pipeline.publishes) {
    checkJobs(after, 'publish');
    checkMade(artifact, 'publish');
  }
  for (const { artifact } of pipeline.releases) checkMade(artifact, 'releases');
}
