import { type Graph, type Label, type Pipeline, PipelineError } from '@treeline/pipeline';
import type { Core } from '../core.ts';
import type { Queryable } from '../database/open.ts';
import { pipelineOf } from '../runs/manifest.ts';
import type { RevisionRow } from '../sources/tables.ts';
import type { Declaration } from './trace.ts';

/** What the treeline.yaml files of a run say of labels, for what the run has. */
export interface DeclaredLabels {
  /** A label of a project or of an artifact, as in `name_labels`. */
  names: { name: string; label: Label }[];
  /** A label of a tree that the project has or makes, and the name that the file says it of. */
  trees: { tree: { contents: string; meta: string }; commit: string; label: Label; name: string; reason: string }[];
}

/** An output of a job that has passed. */
export interface MadeOutput {
  project: string;
  artifact: string;
  commit: string;
  tree: { contents: string; meta: string };
}

/** What is labelled by the files of these revisions: their sources, and what their jobs made. */
export function declaredLabels(
  graph: Graph,
  manifest: readonly RevisionRow[],
  outputs: readonly MadeOutput[],
): DeclaredLabels {
  const names: DeclaredLabels['names'] = [];
  const trees: DeclaredLabels['trees'] = [];
  const revisions = new Map(manifest.map((revision) => [revision.project, revision]));
  for (const revision of manifest) {
    const { label } = pipelineOf(revision);
    if (label === null) continue;
    const { project, commit, contents, meta } = revision;
    names.push({ name: project, label });
    trees.push({ tree: { contents, meta }, commit, label, name: project, reason: reasonOf(revision) });
  }
  for (const { job } of graph.jobs.values()) {
    for (const [output, label] of Object.entries(job.labels)) names.push({ name: `${job.project}/${output}`, label });
  }
  for (const { project, artifact, tree, commit } of outputs) {
    const revision = revisions.get(project);
    if (!revision) continue;
    const own = names.filter(({ name }) => name === project || name === `${project}/${artifact}`);
    for (const one of own) trees.push({ ...one, tree, commit, reason: reasonOf(revision) });
  }
  return { names, trees };
}

function reasonOf({ project, revision }: RevisionRow): string {
  return `treeline.yaml of ${project} at ${revision.slice(0, 12)}`;
}

/**
 * Writes down labels that files declare. They are only ever added: a label that is gone from a file of today may have
 * been taken out by anybody who can push to that repository, so it takes somebody who may label to take it off.
 */
export async function noteDeclared(trx: Queryable, core: Core, { names, trees }: DeclaredLabels): Promise<void> {
  const now = Date.now();
  for (const { name, label } of names) {
    const reason = 'treeline.yaml';
    const { numInsertedOrUpdatedRows } = await trx
      .insertInto('name_labels')
      .values({ name, label, by_hand: 0, actor: null, reason, created_at: now })
      .onConflict((c) => c.doNothing())
      .executeTakeFirstOrThrow();
    if (!numInsertedOrUpdatedRows) continue;
    await core.audit.record({ caller: null, action: 'label.set', subject: name, data: { label, reason } }, trx);
    await core.events.append('label.set', { name, label, reason }, trx);
  }
  for (const { tree, commit, label, name, reason } of trees) {
    await trx
      .insertInto('labels')
      .values({ ...tree, label, name, commit, actor: null, reason, created_at: now })
      .onConflict((c) => c.doNothing())
      .execute();
  }
}

/** Notes what a run takes for a job's result, whether it makes it or finds it made from other commits of the same trees. */
export async function noteInputs(
  trx: Queryable,
  key: string,
  inputs: readonly { name: string; commit: string }[],
): Promise<void> {
  if (inputs.length === 0) return;
  await trx
    .insertInto('result_inputs')
    .values(inputs.map(({ name, commit }) => ({ key, name, commit })))
    .onConflict((c) => c.doNothing())
    .execute();
}

/**
 * Looks up what projects declare releasable to a repository: in the revisions of a run for what the run publishes,
 * otherwise in what each project's branch has now.
 */
export function declarationsOf(
  db: Queryable,
  { repository, run }: { repository: string; run: string | null },
): (project: string, artifact: string) => Promise<Declaration | null> {
  return async (project, artifact) => {
    const revision = await revisionOf(db, project, run);
    if (!revision) return null;
    let pipeline: Pipeline;
    try {
      pipeline = pipelineOf(revision);
    } catch (error) {
      if (error instanceof PipelineError) return null;
      throw error;
    }
    const found = pipeline.releases.find((one) => one.artifact.artifact === artifact && one.repository === repository);
    if (!found) return null;
    const { because, position } = found;
    const where = { revision: revision.revision, file: pipeline.file, line: position.line };
    return { project, artifact, repository, because, ...where };
  };
}

async function revisionOf(db: Queryable, project: string, run: string | null): Promise<RevisionRow | null> {
  const query = db.selectFrom('revisions').selectAll('revisions').where('revisions.project', '=', project);
  const row =
    run === null
      ? await query
          .innerJoin('projects', (join) =>
            join.onRef('projects.name', '=', 'revisions.project').onRef('projects.head', '=', 'revisions.revision'),
          )
          .executeTakeFirst()
      : await query
          .innerJoin('run_manifests', (join) =>
            join
              .onRef('run_manifests.project', '=', 'revisions.project')
              .onRef('run_manifests.revision', '=', 'revisions.revision'),
          )
          .where('run_manifests.run_id', '=', run)
          .executeTakeFirst();
  return row ?? null;
}
