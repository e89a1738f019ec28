import type { Project } from '../api/schema.ts';
import type { Queryable } from '../database/open.ts';
import { time } from './time.ts';

/** The projects by name, or the one of that name. */
export async function readProjects(db: Queryable, name?: string): Promise<Project[]> {
  let query = db
    .selectFrom('projects')
    .leftJoin('revisions', (join) =>
      join.onRef('revisions.project', '=', 'projects.name').onRef('revisions.revision', '=', 'projects.head'),
    )
    .selectAll('projects')
    .select(['revisions.commit', 'revisions.subject'])
    .orderBy('projects.name');
  if (name !== undefined) query = query.where('projects.name', '=', name);
  const rows = await query.execute();
  return rows.map((row) => ({
    name: row.name,
    url: row.url,
    branch: row.branch,
    head:
      row.head === null || row.commit === null
        ? null
        : { revision: row.head, subject: row.subject ?? '', commit: row.commit },
    error: row.error === null ? null : (JSON.parse(row.error) as Project['error']),
    fetchedAt: time(row.fetched_at),
    createdAt: time(row.created_at),
  }));
}
