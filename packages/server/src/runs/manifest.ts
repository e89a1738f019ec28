import {
  buildGraph,
  type Diagnostic,
  type Graph,
  type Pipeline,
  PipelineError,
  parsePipeline,
} from '@treeline/pipeline';
import type { Source } from '../api/schema.ts';
import type { Queryable } from '../database/open.ts';
import { PIPELINE_FILE } from '../sources/import.ts';
import type { RevisionRow } from '../sources/tables.ts';

/** The revisions that a run is about, by project's name. */
export async function loadManifest(db: Queryable, runId: string): Promise<RevisionRow[]> {
  return await db
    .selectFrom('run_manifests')
    .innerJoin('revisions', (join) =>
      join
        .onRef('revisions.project', '=', 'run_manifests.project')
        .onRef('revisions.revision', '=', 'run_manifests.revision'),
    )
    .selectAll('revisions')
    .where('run_manifests.run_id', '=', runId)
    .orderBy('revisions.project')
    .execute();
}

export function sourceOf(revision: RevisionRow): Source {
  const { project, url, revision: id, subject, commit } = revision;
  return { project, url, revision: id, subject, commit };
}

const CACHED_PIPELINES = 256;
const pipelines = new Map<string, Pipeline>();

/**
 * The graph of a manifest's pipelines.
 *
 * @throws PipelineError with the diagnostics of all files that are wrong, or of how they do not fit together.
 */
export function graphOf(manifest: readonly RevisionRow[]): Graph {
  const parsed: Pipeline[] = [];
  const diagnostics: Diagnostic[] = [];
  let first: PipelineError | undefined;
  for (const revision of manifest) {
    try {
      parsed.push(pipelineOf(revision));
    } catch (error) {
      if (!(error instanceof PipelineError)) throw error;
      first ??= error;
      diagnostics.push(...error.diagnostics);
    }
  }
  if (first) {
    throw new PipelineError(first.code, first.message, {
      diagnostics,
      cause: first,
      ...(first.hint ? { hint: first.hint } : {}),
    });
  }
  return buildGraph(parsed);
}

/** The checked treeline.yaml of a revision. @throws PipelineError */
export function pipelineOf(revision: RevisionRow): Pipeline {
  const id = `${revision.project}@${revision.revision}`;
  const known = pipelines.get(id);
  if (known) return known;
  if (revision.pipeline === null) {
    const diagnostic: Diagnostic = {
      project: revision.project,
      file: PIPELINE_FILE,
      line: 1,
      column: 1,
      message: `revision ${revision.revision.slice(0, 12)} of ${revision.project} has no ${PIPELINE_FILE}`,
      hint: `Add a ${PIPELINE_FILE} to the top folder of the repository.`,
    };
    throw new PipelineError('invalid-pipeline', diagnostic.message, { diagnostics: [diagnostic] });
  }
  const pipeline = parsePipeline(revision.pipeline, { project: revision.project, file: PIPELINE_FILE });
  if (pipelines.size >= CACHED_PIPELINES) pipelines.delete(pipelines.keys().next().value!);
  pipelines.set(id, pipeline);
  return pipeline;
}
