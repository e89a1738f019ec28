import type { FoundLabel, PutLabel } from '../api/schema.ts';
import type { Core } from '../core.ts';
import type { Queryable } from '../database/open.ts';
import { projectOf } from '../labels/own.ts';
import { traceLabels } from '../labels/trace.ts';
import { time } from './time.ts';

/** All labels of a commit, its own and inherited. */
export async function labelsOf(core: Core, commit: string): Promise<FoundLabel[]> {
  const { db, origins, settings } = core;
  const { labels } = await traceLabels({ db, origins, defaultLabel: settings.defaultLabel }, commit);
  return labels.map((label) => ({ ...label, at: time(label.at) }));
}

/** Every label that was put on something, newest first: names before trees. */
export async function listLabels(db: Queryable, limit: number): Promise<PutLabel[]> {
  const names = await db.selectFrom('name_labels').selectAll().orderBy('created_at', 'desc').limit(limit).execute();
  const trees = await db.selectFrom('labels').selectAll().orderBy('created_at', 'desc').limit(limit).execute();
  return [
    ...names.map(({ name, label, by_hand: byHand, actor: by, reason, created_at: at }): PutLabel => {
      const [project = ''] = name.split('/');
      const on = name.includes('/') ? 'artifact' : 'project';
      return { label, on, labelled: name, project: byHand ? null : project, by, reason, at: time(at) };
    }),
    ...trees.map(({ commit, label, name, actor: by, reason, created_at: at }): PutLabel => {
      return { label, on: 'commit', labelled: commit, project: projectOf(name), by, reason, at: time(at) };
    }),
  ].slice(0, limit);
}
