import { rm, unlink } from 'node:fs/promises';
import { dirname } from 'node:path';
import { openRepo, type Repo, readCommit, readDirTree, syncFolder } from '@treeline/ostree';
import type { Checkpoint } from '../deployer.ts';
import { partialMark, repositoryObjects } from './repository-objects.ts';

/**
 * Removes every object that none of the commits needs. A commit that is there counts as whole, for any later pull, so
 * commits go first, and are gone on disk before anything else is touched. Nobody else may write to the repository meanwhile.
 *
 * @throws OstreeError if a commit that is to be kept is not whole: then nothing is removed.
 */
export async function pruneRepo(
  path: string,
  keep: readonly string[],
  checkpoint: Checkpoint,
): Promise<{ removed: number }> {
  const repo = await openRepo(path);
  const needed = new Set<string>();
  for (const commit of keep) {
    needed.add(`${commit}.commit`).add(`${commit}.commitmeta`);
    const { tree } = await readCommit(repo, commit);
    needed.add(`${tree.meta}.dirmeta`);
    await markTree(repo, tree.contents, needed);
  }
  const doomed = (await repositoryObjects(path)).filter(({ name }) => !needed.has(name));
  const commits = doomed.filter(({ type }) => type === 'commit');
  for (const object of commits) await unlink(object.path);
  for (const folder of new Set(commits.map((object) => dirname(object.path)))) await syncFolder(folder);
  await checkpoint('prune: contents');
  for (const object of doomed) if (object.type !== 'commit') await unlink(object.path);
  for (const { checksum } of commits) await rm(partialMark(path, checksum), { force: true });
  return { removed: doomed.length };
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
