import { filterTree, withTransaction, writeCommit } from '@treeline/ostree';
import { type Graph, type JobId, matchPaths, type Tree } from '@treeline/pipeline';
import type { Core } from '../core.ts';
import type { RevisionRow } from '../sources/tables.ts';

/** What each job sees of its repository. */
export interface SourceTrees {
  /** A tree for every job whose `paths` is not []. */
  of(graph: Graph, manifest: readonly RevisionRow[]): Promise<Map<JobId, Tree>>;
}

const CACHED = 2048;
/** How often what is in use is made and noted anew. Well below the day for which retention keeps it at least. */
const RENEW_MS = 3_600_000;

/** Filters source trees by the jobs' `paths`; a filtered tree is made once per tree and patterns, and noted as in use. */
export function createSourceTrees(core: Core): SourceTrees {
  const cache = new Map<string, { tree: Tree; notedAt: number }>();
  return {
    async of(graph, manifest) {
      const roots = new Map(manifest.map((r) => [r.project, { contents: r.contents, meta: r.meta }]));
      const trees = new Map<JobId, Tree>();
      const toFilter: { id: JobId; cacheKey: string; root: Tree; paths: readonly string[] }[] = [];
      for (const [id, { job }] of graph.jobs) {
        const root = roots.get(job.project);
        if (!root || job.paths?.length === 0) continue;
        if (job.paths === null) {
          trees.set(id, root);
          continue;
        }
        const cacheKey = JSON.stringify([root.contents, root.meta, job.paths]);
        const known = cache.get(cacheKey);
        if (known && Date.now() - known.notedAt < RENEW_MS) trees.set(id, known.tree);
        else toFilter.push({ id, cacheKey, root, paths: job.paths });
      }
      if (toFilter.length === 0) return trees;
      const now = Date.now();
      const filtered = await withTransaction(core.store, async (tx) => {
        const made: Tree[] = [];
        for (const { root, paths } of toFilter) {
          const tree = await filterTree(tx, root, matchPaths(paths));
          // Without a ref it would be garbage for prune, while jobs wait that are to see it. The same tree always gets
          // the same commit.
          const commit = await writeCommit(tx, { tree, subject: 'Sources that jobs see', timestamp: 0 });
          tx.setRef(`filtered/${tree.contents}/${tree.meta}`, commit);
          made.push(tree);
          // In here: no prune is at work, and the next one reads it.
          const row = { contents: tree.contents, meta: tree.meta, commit, used_at: now };
          await core.db
            .insertInto('filtered_sources')
            .values(row)
            .onConflict((c) => c.columns(['contents', 'meta']).doUpdateSet(row))
            .execute();
        }
        return made;
      });
      for (const [i, { id, cacheKey }] of toFilter.entries()) {
        if (cache.size >= CACHED) cache.delete(cache.keys().next().value!);
        cache.delete(cacheKey);
        cache.set(cacheKey, { tree: filtered[i]!, notedAt: now });
        trees.set(id, filtered[i]!);
      }
      return trees;
    },
  };
}
