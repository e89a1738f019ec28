import type { Label } from '@treeline/pipeline';
import type { Queryable } from '../database/open.ts';
import type { CommitOrigins } from './origins.ts';

/** A label that something has by itself. */
export interface OwnLabel {
  label: Label;
  /** `tree`: another commit of the same tree got it. `default`: nothing says anything. `lost`: see `LOST`. */
  on: 'commit' | 'tree' | 'artifact' | 'project' | 'default' | 'lost';
  /** Project whose treeline.yaml says so; null = by hand, or nobody. */
  project: string | null;
  /** Who put it there by hand. */
  by: string | null;
  reason: string;
  /** ms; null where nobody said anything. */
  at: number | null;
}

/** The tree without anything in it (SHA-256 of a dirtree of no files and no folders): equal by chance, not by origin. */
export const EMPTY_FOLDER = '6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d';

/** Project whose file declared a label under a name; null for one by hand. */
export function projectOf(name: string): string | null {
  return name === '' ? null : name.split('/')[0]!;
}

/** Labels that a commit has by itself: those of its project and its artifact, its own and its tree's. */
export async function ownLabels(
  db: Queryable,
  commit: string,
  { tree, project, artifact }: Pick<CommitOrigins, 'tree' | 'project' | 'artifact'>,
): Promise<OwnLabel[]> {
  const named = project === null ? [] : await labelsOfNames(db, project, artifact);
  const rows = await db
    .selectFrom('labels')
    .selectAll()
    .where((eb) =>
      eb.or([
        eb('commit', '=', commit),
        eb.and([eb('contents', '=', tree.contents), eb('meta', '=', tree.meta), eb('contents', '!=', EMPTY_FOLDER)]),
      ]),
    )
    .orderBy('created_at')
    .execute();
  const own = rows.map((row): OwnLabel => {
    const { label, name, actor: by, reason, created_at: at } = row;
    return { label, on: row.commit === commit ? 'commit' : 'tree', project: projectOf(name), by, reason, at };
  });
  return [...named, ...own];
}

async function labelsOfNames(db: Queryable, project: string, artifact: string | null): Promise<OwnLabel[]> {
  const names = artifact === null ? [project] : [project, `${project}/${artifact}`];
  const rows = await db
    .selectFrom('name_labels')
    .selectAll()
    .where('name', 'in', names)
    .orderBy('created_at')
    .execute();
  return rows.map(({ name, label, by_hand: byHand, actor: by, reason, created_at: at }) => {
    const on = name === project ? 'project' : 'artifact';
    return { label, on, project: byHand ? null : project, by, reason, at };
  });
}
