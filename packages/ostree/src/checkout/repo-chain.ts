import { OstreeError } from '../errors.ts';
import { openRepo, type Repo } from '../repo/repo.ts';
import { type TreeReader, treeReader } from '../repo/tree-reader.ts';

/** Parents of parents that are looked at; a repository that is its own ancestor must not be looked at forever. */
const MAX_PARENTS = 16;

/** A repository, the one that it takes missing objects from (`core.parent`), the parent of that, and so on. */
export async function repoChain(repo: Repo): Promise<Repo[]> {
  const chain = [repo];
  for (let parent = parentOf(repo); parent && chain.length <= MAX_PARENTS; ) {
    const next = await openRepo(parent);
    chain.push(next);
    parent = parentOf(next);
  }
  return chain;
}

function parentOf(repo: Repo): string | undefined {
  return repo.config.get('core')?.get('parent');
}

/** Reads folders from the first repository that has them. */
export function chainReader(repos: readonly Repo[]): TreeReader {
  const readers = repos.map((repo) => treeReader(repo));
  if (readers.length === 1) return readers[0]!;
  const first = <T>(read: (reader: TreeReader) => T): T => {
    let missing: unknown;
    for (const reader of readers) {
      try {
        return read(reader);
      } catch (error) {
        if (!(error instanceof OstreeError) || error.code !== 'not-found') throw error;
        missing ??= error;
      }
    }
    throw missing;
  };
  return {
    dirTree: (checksum) => first((reader) => reader.dirTree(checksum)),
    dirMeta: (checksum) => first((reader) => reader.dirMeta(checksum)),
  };
}
