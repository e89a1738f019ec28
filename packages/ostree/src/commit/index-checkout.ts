import { lstatSync, readdirSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Tree } from '../formats/object-name.ts';
import type { Repo } from '../repo/repo.ts';
import { treeReader } from '../repo/tree-reader.ts';
import { FolderSnapshot, openIndexFile } from './folder-index.ts';

/** What was written last must be older than a tick of the clock, to be told from what is written next. */
const SETTLING_MS = 120;

/**
 * Remembers what a tree that was just checked out looks like on disk, so that `writeFolder` with the same `indexFile`
 * reads only what was changed since. Nothing else may have been done to the folder.
 */
export async function indexCheckout(repo: Repo, tree: Tree, folder: string, indexFile: string): Promise<void> {
  await sleep(SETTLING_MS);
  const reader = treeReader(repo);
  const index = openIndexFile(indexFile);
  const record = (path: string, relative: string, { contents }: Tree): void => {
    const { files, dirs } = reader.dirTree(contents);
    const seen = new FolderSnapshot();
    const checksums: string[] = [];
    for (const name of readdirSync(path)) {
      const stats = lstatSync(`${path}/${name}`);
      const checksum = stats.isDirectory() ? dirs.get(name)?.meta : files.get(name);
      // Something else than what was checked out: this folder is not known.
      if (checksum === undefined) return;
      seen.add(name, stats, stats);
      checksums.push(checksum);
    }
    seen.detach();
    if (checksums.length !== files.size + dirs.size) return;
    index.put(relative, seen, Buffer.from(checksums.join(''), 'hex'), contents);
    for (const [name, child] of dirs) {
      record(`${path}/${name}`, relative === '/' ? `/${name}` : `${relative}/${name}`, child);
    }
  };
  record(folder, '/', tree);
  index.save(tree.contents);
}
