import { readFileSync } from 'node:fs';
import { OstreeError, systemCode } from '../errors.ts';
import { visitDirTree } from '../formats/dirtree-children.ts';
import type { Checksum, Tree } from '../formats/object-name.ts';
import { assertHash, objectPath } from '../repo/objects.ts';
import type { Repo } from '../repo/repo.ts';
import { ChecksumSet } from './checksum-set.ts';
import { timeSlices } from './time-slices.ts';

/**
 * What is reached from trees, each object looked at once however many trees have it. Dirtrees are hashed as they are
 * read: a damaged one could hide what it refers to, which would then be deleted.
 */
export class Reachable {
  readonly dirtrees = new ChecksumSet();
  readonly dirmetas = new ChecksumSet();
  readonly files = new ChecksumSet(16_384);
  /** Where to look: the repository, then its parents. */
  readonly #repos: readonly Repo[];

  constructor(repos: readonly Repo[]) {
    this.#repos = repos;
  }

  /**
   * Adds a tree with everything below it.
   *
   * @param partial the commit need not be there as a whole. Add what is whole first: what is missing is only told of
   *   what has not been reached before.
   * @throws OstreeError `not-found` for a missing dirtree of a whole commit, `corrupt`
   */
  async add(tree: Tree, options: { partial: boolean; signal?: AbortSignal | undefined }): Promise<void> {
    this.dirmetas.add(tree.meta);
    await this.addFolder(tree.contents, options);
  }

  /** Adds a folder with everything below it: the same as `add`. */
  async addFolder(
    contents: Checksum,
    { partial, signal }: { partial: boolean; signal?: AbortSignal | undefined },
  ): Promise<void> {
    const pause = timeSlices(signal);
    const waiting: Checksum[] = [];
    if (this.dirtrees.add(contents)) waiting.push(contents);
    for (let next = waiting.pop(); next !== undefined; next = waiting.pop()) {
      const data = this.#read(next);
      if (data) {
        visitDirTree(data, `${next}.dirtree`, {
          file: (item, at) => void this.files.addBytes(item, at),
          folder: (item, contentsAt, metaAt) => {
            this.dirmetas.addBytes(item, metaAt);
            if (this.dirtrees.addBytes(item, contentsAt))
              waiting.push(item.toString('hex', contentsAt, contentsAt + 32));
          },
        });
      } else if (!partial) {
        const object = `${next}.dirtree`;
        throw new OstreeError('not-found', `No such metadata object ${object}`, {
          object,
          hint: 'The repository is damaged: run `treeline repo fsck --delete`, which marks what is not whole.',
        });
      }
      await pause();
    }
  }

  #read(contents: Checksum): Buffer | null {
    for (const repo of this.#repos) {
      try {
        const data = readFileSync(objectPath(repo, 'dirtree', contents));
        assertHash(data, contents, 'dirtree');
        return data;
      } catch (error) {
        if (systemCode(error) !== 'ENOENT') throw error;
      }
    }
    return null;
  }
}
