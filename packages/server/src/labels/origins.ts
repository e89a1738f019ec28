import { type Commit, isChecksum, metadataValue, OstreeError, readCommit, readRef } from '@treeline/ostree';
import { BUILT_IN_PROJECT } from '@treeline/pipeline';
import { Provenance } from '../api/schema.ts';
import { builtInOf, builtInRef } from '../built-ins/note.ts';
import type { Core } from '../core.ts';
import { PROVENANCE } from '../executions/outputs.ts';
import { outputsOf } from '../executions/spec.ts';
import { REBOUND_FROM } from '../publish/bindings.ts';
import { type LabelInside, searchInside } from './inside.ts';

/** Something that a commit was made from. */
export interface Origin {
  commit: string;
  /** Whether it is a commit's parent, which need not be in the store. */
  parent: boolean;
}

/** What labels need to know of a commit. */
export interface CommitOrigins {
  tree: { contents: string; meta: string };
  /** What people call it: `vendor/drivers`, `source of vendor at 12345678`, `commit 12345678`. */
  name: string;
  /** Project that its metadata names; null for a commit that came by a push. */
  project: string | null;
  artifact: string | null;
  /**
   * Whether the server made it, so that its metadata is to be believed. Whoever pushes a commit can write into it what
   * he likes: that may add labels to it, but take none away.
   */
  made: boolean;
  /** What it was made from; the first that lead to a label say how it came in. */
  origins: Origin[];
}

/** Commits do not change, but what is known of their keys does. */
type Known = Omit<CommitOrigins, 'origins'> & { key: string | null; named: Origin[] };

const CACHED = 20_000;

/** Finds out what commits were made from. */
export interface OriginReader {
  /** null for a commit that the store does not have. */
  read(commit: string): Promise<CommitOrigins | null>;
  /** Begins a search for labels of trees that are folders of others, for one walk. */
  search(): (contents: string) => Promise<LabelInside[]>;
}

export function createOriginReader(core: Pick<Core, 'db' | 'store'>): OriginReader {
  const cache = new Map<string, Known>();

  const load = async (commit: string): Promise<Known | null> => {
    const cached = cache.get(commit);
    if (cached) return cached;
    let read: Commit;
    try {
      read = await readCommit(core.store, commit);
    } catch (error) {
      if (error instanceof OstreeError && error.code === 'not-found') return null;
      throw error;
    }
    const known = await knownOf(core, commit, read);
    // A result becomes one only after its commit was written: what is not believed yet is looked at again.
    if (known.made || known.project === null) {
      if (cache.size >= CACHED) cache.delete(cache.keys().next().value!);
      cache.set(commit, known);
    }
    return known;
  };

  return {
    async read(commit) {
      const known = await load(commit);
      if (!known) return null;
      const { key, named, ...rest } = known;
      const noted = key === null ? [] : await notedInputs(core, key);
      const origins = new Map([...named, ...noted].map((origin) => [origin.commit, origin]));
      origins.delete(commit);
      return { ...rest, origins: [...origins.values()] };
    },
    search: () => searchInside(core),
  };
}

async function knownOf(core: Pick<Core, 'db' | 'store'>, commit: string, read: Commit): Promise<Known> {
  const { tree } = read;
  const named: Origin[] = read.parent === null ? [] : [{ commit: read.parent, parent: true }];
  // Whoever writes this into a commit can only add labels to it.
  const original = textOf(read, REBOUND_FROM);
  if (isChecksum(original)) named.unshift({ commit: original, parent: false });
  const provenance = provenanceOf(read);
  const project = textOf(read, 'treeline.project');
  const short = commit.slice(0, 10);
  if (provenance) {
    const made = await isResult(core, commit, provenance);
    const inputs = [...ownSources(provenance), ...provenance.inputs.map((input) => input.commit)];
    return {
      tree,
      name: `${provenance.project}/${provenance.artifact}${made ? '' : ` (says commit ${short})`}`,
      ...{ project: provenance.project, artifact: provenance.artifact, made },
      key: made ? provenance.key : null,
      named: [...named, ...inputs.map((one) => ({ commit: one, parent: false }))],
    };
  }
  const builtIn = builtInOf(read);
  if (builtIn) {
    const made = (await readRef(core.store, builtInRef(builtIn.artifact, tree))) === commit;
    const name = `${BUILT_IN_PROJECT}/${builtIn.artifact}${made ? '' : ` (says commit ${short})`}`;
    return { tree, name, project: BUILT_IN_PROJECT, artifact: builtIn.artifact, made, key: null, named };
  }
  if (project !== '') {
    const made = await isSource(core, commit);
    const revision = textOf(read, 'treeline.git-revision').slice(0, 10);
    const name = `source of ${project} at ${revision}${made ? '' : ` (says commit ${short})`}`;
    return { tree, name, project, artifact: null, made, key: null, named };
  }
  return { tree, name: `commit ${short}`, project: null, artifact: null, made: false, key: null, named };
}

/** The revision of its own repository that a job saw. Earlier versions named it only among all that went in. */
function ownSources({ project, source, sources }: Provenance): string[] {
  if (source !== undefined) return source === null ? [] : [source];
  return sources.filter((one) => one.project === project).map((one) => one.commit);
}

function provenanceOf(read: Commit): Provenance | null {
  const text = textOf(read, PROVENANCE);
  if (text === '') return null;
  try {
    return Provenance.parse(JSON.parse(text));
  } catch {
    return null;
  }
}

function textOf({ metadata }: Commit, name: string): string {
  const value = metadataValue(metadata, name)?.value;
  return typeof value === 'string' ? value : '';
}

/** Whether the server recorded this commit as the result that it says it is. */
async function isResult(core: Pick<Core, 'db'>, commit: string, { key, artifact }: Provenance): Promise<boolean> {
  for (const table of ['results', 'forgotten_results'] as const) {
    const rows = await core.db.selectFrom(table).select('outputs').where('key', '=', key).execute();
    if (rows.some((row) => outputsOf(row)[artifact]?.commit === commit)) return true;
  }
  return false;
}

async function isSource(core: Pick<Core, 'db'>, commit: string): Promise<boolean> {
  const row = await core.db.selectFrom('revisions').select('commit').where('commit', '=', commit).executeTakeFirst();
  return row !== undefined;
}

async function notedInputs(core: Pick<Core, 'db'>, key: string): Promise<Origin[]> {
  const rows = await core.db
    .selectFrom('result_inputs')
    .select('commit')
    .where('key', '=', key)
    .orderBy('name')
    .orderBy('commit')
    .execute();
  return rows.map(({ commit }) => ({ commit, parent: false }));
}
