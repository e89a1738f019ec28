import { type Checksum, type Repo, readDirTree } from '@treeline/ostree';
import type { Label } from '@treeline/pipeline';
import type { Queryable } from '../database/open.ts';
import { outputsOf } from '../executions/spec.ts';
import { EMPTY_FOLDER } from './own.ts';

/** A folder of a tree that is, as a whole, a tree with a label. */
export interface LabelInside {
  label: Label;
  /** Where it is, `/usr/lib/vendor`. */
  folder: string;
  /** A commit of the labelled tree. */
  commit: Checksum;
  reason: string;
}

interface LabelledTree {
  label: Label;
  commit: Checksum;
  reason: string;
}

/**
 * A search for labels of trees that are inside of others, at any depth. A commit that the server made says what went
 * into it; of one that was pushed only the checksums of its folders tell that somebody put a restricted tree into it.
 *
 * It is for one walk: of a history of commits that share most of their folders, each folder is looked at once.
 */
export function searchInside({
  db,
  store,
}: {
  db: Queryable;
  store: Repo;
}): (root: Checksum) => Promise<LabelInside[]> {
  const seen = new Set<Checksum>();
  let labels: Promise<Map<Checksum, LabelledTree[]>> | undefined;
  return async (root) => {
    labels ??= labelledTrees(db);
    const labelled = await labels;
    if (labelled.size === 0) return [];
    const found: LabelInside[] = [];
    const waiting: [contents: Checksum, folder: string][] = [[root, '']];
    for (let next = waiting.pop(); next !== undefined; next = waiting.pop()) {
      const [contents, folder] = next;
      for (const [name, dir] of (await readDirTree(store, contents)).dirs) {
        if (seen.has(dir.contents)) continue;
        seen.add(dir.contents);
        const path = `${folder}/${name}`;
        for (const one of labelled.get(dir.contents) ?? []) found.push({ ...one, folder: path });
        waiting.push([dir.contents, path]);
      }
    }
    return found;
  };
}

/** Trees that have a label, by their root folder: labelled themselves, or made or owned by a name that is. */
async function labelledTrees(db: Queryable): Promise<Map<Checksum, LabelledTree[]>> {
  const trees = new Map<Checksum, LabelledTree[]>();
  const add = (contents: string, tree: LabelledTree) =>
    void trees.set(contents, [...(trees.get(contents) ?? []), tree]);
  for (const row of await db.selectFrom('labels').selectAll().execute()) {
    if (row.label !== 'public') add(row.contents, row);
  }
  for (const { name, label, reason } of await db.selectFrom('name_labels').selectAll().execute()) {
    if (label === 'public') continue;
    const [project = '', artifact] = name.split('/');
    const results = db
      .selectFrom('results')
      .innerJoin('run_jobs', 'run_jobs.key', 'results.key')
      .select(['results.outputs', 'run_jobs.job'])
      .where('run_jobs.job', 'like', `${project}/%`);
    const forgotten = db
      .selectFrom('forgotten_results')
      .innerJoin('run_jobs', 'run_jobs.key', 'forgotten_results.key')
      .select(['forgotten_results.outputs', 'run_jobs.job'])
      .where('run_jobs.job', 'like', `${project}/%`);
    const rows = await results.union(forgotten).execute();
    for (const row of rows.filter(({ job }) => job.startsWith(`${project}/`))) {
      for (const [made, { commit, tree }] of Object.entries(outputsOf(row))) {
        if (artifact === undefined || made === artifact) add(tree.contents, { label, commit, reason });
      }
    }
    if (artifact !== undefined) continue;
    const revisions = await db
      .selectFrom('revisions')
      .select(['contents', 'commit'])
      .where('project', '=', project)
      .execute();
    for (const { contents, commit } of revisions) add(contents, { label, commit, reason });
  }
  trees.delete(EMPTY_FOLDER);
  return trees;
}
