import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { readRef, type Tree, withTransaction, writeCommit, writeFolder } from '@treeline/ostree';
import { artifactReferences, BUILT_IN_PROJECT, type BuiltInName, type Graph } from '@treeline/pipeline';
import type { Core } from '../core.ts';
import { messageOf, ServerError } from '../errors.ts';
import { VERSION } from '../version.ts';
import { BUILT_IN, type BuiltInNote, builtInRef } from './note.ts';

/** Writes a built-in artifact into a folder, which is empty. */
export type BuiltInMaker = (folder: string) => Promise<void>;
export type BuiltInMakers = Readonly<Partial<Record<BuiltInName, BuiltInMaker>>>;

export interface BuiltIn {
  commit: string;
  tree: Tree;
}

/** The artifacts that come with Treeline: `treeline/agent` and the like. */
export interface BuiltIns {
  /**
   * Commits one to the store, unless this server did so before; the same tree has the same commit for ever.
   *
   * @throws ServerError `unavailable` where it cannot be made
   */
  get(name: BuiltInName): Promise<BuiltIn>;
  /** Those that this server has committed or found. */
  current(): Promise<BuiltIn[]>;
  /** Those that the jobs of a graph take. */
  usedBy(graph: Graph): Promise<ReadonlyMap<BuiltInName, BuiltIn>>;
}

/**
 * They are made when they are first asked for: bundling takes a second, and most servers have pipelines that take none of
 * them. An older version's stay in the store, since results name them.
 */
export function createBuiltIns(core: Pick<Core, 'db' | 'store'>, makers: BuiltInMakers): BuiltIns {
  const made = new Map<BuiltInName, Promise<BuiltIn>>();
  const get = (name: BuiltInName): Promise<BuiltIn> => {
    const known = made.get(name);
    if (known) return known;
    const making = make(core, name, makers[name]);
    made.set(name, making);
    // What failed once (a full disk) may work the next time.
    making.catch(() => made.delete(name));
    return making;
  };
  return {
    get,
    async current() {
      const settled = await Promise.allSettled(made.values());
      return settled.flatMap((one) => (one.status === 'fulfilled' ? [one.value] : []));
    },
    async usedBy(graph) {
      const found = new Map<BuiltInName, BuiltIn>();
      for (const { job } of graph.jobs.values()) {
        for (const { artifact: reference } of artifactReferences(job)) {
          const { project, artifact } = reference;
          // The file was checked: there is no other artifact of this project.
          if (project === BUILT_IN_PROJECT) found.set(artifact as BuiltInName, await get(artifact as BuiltInName));
        }
      }
      return found;
    },
  };
}

async function make(
  core: Pick<Core, 'db' | 'store'>,
  name: BuiltInName,
  maker: BuiltInMaker | undefined,
): Promise<BuiltIn> {
  const id = `${BUILT_IN_PROJECT}/${name}`;
  if (!maker) throw new ServerError('unavailable', `this server was started without ${id}`);
  const folder = await mkdtemp(join(tmpdir(), 'treeline-built-in-'));
  try {
    await maker(folder);
    return await commitFolder(core, { id, name, folder });
  } catch (error) {
    throw new ServerError('unavailable', `${id} cannot be made: ${messageOf(error)}`, { cause: error });
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

async function commitFolder(
  { db, store }: Pick<Core, 'db' | 'store'>,
  { id, name, folder }: { id: string; name: string; folder: string },
): Promise<BuiltIn> {
  const built = await withTransaction(store, async (tx) => {
    const tree = await writeFolder(tx, folder, { owner: { uid: 0, gid: 0 }, xattrs: false, statCache: false });
    const ref = builtInRef(name, tree);
    const known = await readRef(store, ref);
    if (known !== null) return { commit: known, tree };
    const note: BuiltInNote = { artifact: name, version: VERSION };
    const commit = await writeCommit(tx, {
      tree,
      subject: id,
      body: `Comes with Treeline ${VERSION}.`,
      metadata: [[BUILT_IN, { type: 's', value: JSON.stringify(note) }]],
    });
    tx.setRef(ref, commit);
    return { commit, tree };
  });
  const reason = `it comes with Treeline ${VERSION}`;
  await db
    .insertInto('labels')
    .values({
      ...built.tree,
      label: 'public',
      name: '',
      commit: built.commit,
      actor: null,
      reason,
      created_at: Date.now(),
    })
    .onConflict((c) => c.doNothing())
    .execute();
  return built;
}
