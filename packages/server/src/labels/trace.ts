import type { Label } from '@treeline/pipeline';
import type { Queryable } from '../database/open.ts';
import type { OriginReader } from './origins.ts';
import { type OwnLabel, ownLabels, projectOf } from './own.ts';

/** A label that a commit has, and the way by which it came in. */
export interface FoundLabel extends OwnLabel {
  /** Names from the commit itself to what has the label: `system/system`, `vendor/drivers`. */
  path: string[];
  /** What has it. */
  commit: string;
}

/** That a finished artifact may be released, whatever it was made from. */
export interface Declaration {
  project: string;
  artifact: string;
  repository: string;
  because: string;
  /** git revision whose treeline.yaml says so, and where. */
  revision: string;
  file: string;
  line: number;
}

/** A declaration that the walk met: nothing behind it was looked at. */
export interface MetDeclaration extends Declaration {
  commit: string;
  path: string[];
}

export interface Trace {
  labels: FoundLabel[];
  met: MetDeclaration[];
}

export interface TraceDeps {
  db: Queryable;
  origins: OriginReader;
  /** Of commits of which nothing says anything. */
  defaultLabel: Label;
  /** Whether an artifact of a project is declared releasable; default: none is. */
  declared?: (project: string, artifact: string) => Promise<Declaration | null>;
}

/** What a commit has that is not in the store any more: nobody can say what it was made from. */
export const LOST: Label = 'restricted:of unknown origin';

/**
 * The labels of a commit: its own, and those of all that it was made from, back to the sources. An artifact that is
 * declared releasable ends the walk: what it inherits does not count, nor what its own project's file says of it. What
 * others have put on it counts all the same.
 *
 * What came by a push says nothing of what it was made from, or what it likes: its folders are looked through for trees
 * that have a label.
 *
 * What several ways lead to is told once, by the first of them.
 */
export async function traceLabels(deps: TraceDeps, commit: string): Promise<Trace> {
  const trace: Trace = { labels: [], met: [] };
  const seen = new Set<string>([commit]);
  const search = deps.origins.search();
  const waiting: { commit: string; path: string[]; parent: boolean; known: ReadonlySet<Label> }[] = [
    { commit, path: [], parent: false, known: new Set() },
  ];
  for (let next = waiting.pop(); next !== undefined; next = waiting.pop()) {
    const found = await deps.origins.read(next.commit);
    if (!found) {
      trace.labels.push(...(await labelsOfLost(deps.db, next)));
      continue;
    }
    const path = [...next.path, found.name];
    const { project, artifact, made } = found;
    const declaration = made && project && artifact ? await deps.declared?.(project, artifact) : null;
    let own = await ownLabels(deps.db, next.commit, found);
    if (declaration) own = own.filter((label) => label.project !== project);
    // What came by a push comes from outside, whatever its parent is.
    else if (own.length === 0 && (found.origins.length === 0 || !made)) own = [defaultOf(deps.defaultLabel)];
    const known = new Set(next.known);
    for (const label of own) {
      // What it has anyway, by something that was made from this, is not told again.
      if (!known.has(label.label)) trace.labels.push({ ...label, path, commit: next.commit });
      known.add(label.label);
    }
    if (!made) {
      for (const { label, folder, commit: inside, reason } of await search(found.tree.contents)) {
        if (known.has(label)) continue;
        known.add(label);
        const way = [...path, `its ${folder}`];
        trace.labels.push({ label, on: 'tree', project: null, by: null, reason, at: null, path: way, commit: inside });
      }
    }
    if (declaration) {
      trace.met.push({ ...declaration, commit: next.commit, path });
      continue;
    }
    // The first origin is looked at first.
    for (const origin of found.origins.toReversed()) {
      if (seen.has(origin.commit)) continue;
      waiting.push({ ...origin, path, known });
    }
    for (const origin of found.origins) seen.add(origin.commit);
  }
  return trace;
}

function defaultOf(label: Label): OwnLabel {
  return { label, on: 'default', project: null, by: null, reason: 'the default label', at: null };
}

/** Of a history, only as much is in the store as was pushed. A lost input is another matter. */
async function labelsOfLost(
  db: Queryable,
  o: { commit: string; path: string[]; parent: boolean },
): Promise<FoundLabel[]> {
  const path = [...o.path, `commit ${o.commit.slice(0, 10)}`];
  const rows = await db.selectFrom('labels').selectAll().where('commit', '=', o.commit).execute();
  const labels = rows.map((row): FoundLabel => {
    const { label, actor: by, reason, created_at: at, commit } = row;
    return { label, on: 'commit', project: projectOf(row.name), by, reason, at, path, commit };
  });
  if (o.parent) return labels;
  const reason = 'it is not in the store any more, so nobody can say what it was made from';
  return [...labels, { label: LOST, on: 'lost', project: null, by: null, reason, at: null, path, commit: o.commit }];
}
