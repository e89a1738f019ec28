import { readdir, unlink } from 'node:fs/promises';
import { join } from 'node:path';
import { openRepo, type Repo, readCommit, readDirTree } from '@treeline/ostree';

/**
 * Removes every object that none of the commits needs. Nobody else may write to the repository meanwhile.
 *
 * @throws OstreeError if a commit that is to be kept is not whole: then nothing is removed.
 */
export async function pruneRepo(path: string, keep: readonly string[]): Promise<{ removed: number }> {
  const repo = await openRepo(path);
  const needed = new Set<string>();
  for (const commit of keep) {
    needed.add(`${commit}.commit`).add(`${commit}.commitmeta`);
    const { tree } = await readCommit(repo, commit);
    needed.add(`${tree.meta}.dirmeta`);
    await markTree(repo, tree.contents, needed);
  }
  let removed = 0;
  const objects = join(path, 'objects');
  for (const prefix of await readdir(objects)) {
    if (!/^[0-9a-f]{2}$/.test(prefix)) continue;
    for (const name of await readdir(join(objects, prefix))) {
      if (!/^[0-9a-f]{62}\.[a-z]+$/.test(name) || needed.has(`${prefix}${name}`)) continue;
      await unlink(join(objects, prefix, name));
      removed += 1;
    }
  }
  return { removed };
}

async function markTree(repo: Repo, contents: string, needed: Set<string>): Promise<void> {
  const name = `${contents}.dirtree`;
  if (needed.has(name)) return;
  const tree = await readDirTree(repo, contents);
  for (const checksum of tree.files.values()) needed.add(`${checksum}.filez`);
  for (const dir of tree.dirs.values()) {
    needed.add(`${dir.meta}.dirmeta`);
    await markTree(repo, dir.contents, needed);
  }
  needed.add(name);
}
