import { BUILT_IN_PROJECT } from '../built-in.ts';
import { collectDiagnostics } from '../diagnostic/collector.ts';
import { PipelineError } from '../diagnostic/diagnostic.ts';
import type { Job, Pipeline } from '../model.ts';
import { publishedTo } from './board.ts';
import { readDocument } from './document.ts';
import { readEnvironment } from './environment.ts';
import { type JobDefaults, readJob } from './job.ts';
import { readLabel } from './label.ts';
import { readPublishes } from './publish.ts';
import { checkOwnReferences, readImage } from './reference.ts';
import { readReleases } from './releases.ts';
import { type Entry, isName, type Reader, readerOf, readFields, readMap, type Value } from './value.ts';

export type ParseOptions = {
  /** Name of the project that the file belongs to. */
  readonly project: string;
  /** For messages; default `treeline.yaml`. */
  readonly file?: string;
};

/**
 * Reads and checks a treeline.yaml.
 * Errors: `invalid-pipeline` with a diagnostic for every fault of the file (the first hundred), except references to
 * other projects, which `buildGraph` checks. `invalid-argument` for a bad project name.
 */
export function parsePipeline(text: string, options: ParseOptions): Pipeline {
  const { project, file = 'treeline.yaml' } = options;
  if (project === BUILT_IN_PROJECT) {
    throw new PipelineError('invalid-argument', `the project name "${project}" is taken by what comes with Treeline`, {
      hint: 'give the project another name',
    });
  }
  if (!isName(project) || project === 'host') {
    throw new PipelineError('invalid-argument', `"${project}" cannot be the name of a project`, {
      hint: 'use letters, digits, ".", "_" and "-", beginning with a letter or digit',
    });
  }
  const collector = collectDiagnostics();
  const reader = readerOf(collector, { project, file });
  const value = readDocument(reader, text);
  const known = ['image', 'environment', 'label', 'jobs', 'publish', 'releases'];
  const fields = value && readFields(reader, value, { where: 'the file', known });
  if (!value || !fields) {
    collector.throwIfAny('invalid-pipeline');
    throw new PipelineError('invalid-pipeline', `${project}: ${file} cannot be read`);
  }
  const written = readJobs(reader, value, fields);
  const publish = fields.get('publish');
  const publishes = publish ? readPublishes(reader, publish.value) : [];
  const jobs = written.map((job) =>
    job.kind === 'board' && job.over === null ? { ...job, over: publishedTo(job.system, publishes) } : job,
  );
  const label = fields.get('label');
  const releases = fields.get('releases');
  const pipeline: Pipeline = {
    project,
    file,
    jobs,
    publishes,
    label: (label && readLabel(reader, label.value, 'label')) ?? null,
    releases: releases ? readReleases(reader, releases.value) : [],
  };
  checkOwnReferences(pipeline, declaredNames(fields.get('jobs'), jobs), collector);
  collector.throwIfAny('invalid-pipeline');
  return pipeline;
}

function readJobs(reader: Reader, file: Value, fields: ReadonlyMap<string, Entry>): Job[] {
  const image = fields.get('image');
  const environment = fields.get('environment');
  const defaults: JobDefaults = {
    image: (image && readImage(reader, image.value, 'image')) ?? { kind: 'host' },
    environment: (environment && readEnvironment(reader, environment.value)) ?? {},
  };
  const entry = fields.get('jobs');
  const hint = 'write jobs: { test: { run: make test } }';
  if (!entry) {
    reader.fault(file.position, { message: 'the file has no "jobs"', hint });
    return [];
  }
  const map = readMap(reader, entry.value, { where: 'jobs', hint });
  if (map?.entries.length === 0) reader.fault(map.position, { message: 'there are no jobs', hint });
  const jobs = (map?.entries ?? []).flatMap((job) => readJob(reader, job, defaults) ?? []);
  reportSameOutputs(reader, jobs);
  return jobs;
}

function reportSameOutputs(reader: Reader, jobs: readonly Job[]): void {
  const makers = new Map<string, Job>();
  for (const job of jobs) {
    for (const { name } of job.outputs) {
      const other = makers.get(name);
      if (!other) makers.set(name, job);
      else {
        const twice =
          other === job
            ? `job "${job.name}" makes "${name}" twice`
            : `job "${job.name}" makes "${name}", as job "${other.name}" does`;
        reader.fault(job.position, { message: twice, hint: 'give each artifact of a project a name of its own' });
      }
    }
  }
}

/** Also the names of jobs that could not be read, and of outputs with a faulty path. */
function declaredNames(entry: Entry | undefined, jobs: readonly Job[]): { jobs: Set<string>; artifacts: Set<string> } {
  const entries = entry?.value.kind === 'map' ? entry.value.entries : [];
  const artifacts = new Set(jobs.flatMap((job) => job.outputs.map((output) => output.name)));
  for (const { value } of entries) {
    const outputs = value.kind === 'map' ? value.entries.find(({ key }) => key === 'outputs')?.value : undefined;
    for (const { key } of outputs?.kind === 'map' ? outputs.entries : []) artifacts.add(key);
  }
  return { jobs: new Set(entries.map(({ key }) => key)), artifacts };
}
