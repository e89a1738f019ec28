import { hash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { OstreeError, systemCode } from '../errors.ts';
import { visitDirTree } from '../formats/dirtree-children.ts';
import type { Checksum, Tree } from '../formats/object-name.ts';
import { ChecksumSet } from '../prune/checksum-set.ts';
import { timeSlices } from '../prune/time-slices.ts';
import { objectPath } from '../repo/objects.ts';
import type { Repo } from '../repo/repo.ts';
import type { Verifier } from './verifier.ts';

/** Walks trees and has each object that they need checked once, damaged or not. */
export class TreeWalk {
  readonly #repos: readonly Repo[];
  readonly #verifier: Verifier;
  readonly #signal: AbortSignal | undefined;
  readonly #dirtrees = new ChecksumSet();
  readonly #dirmetas = new ChecksumSet();
  readonly #files = new ChecksumSet(16_384);

  constructor(repos: readonly Repo[], verifier: Verifier, signal: AbortSignal | undefined) {
    this.#repos = repos;
    this.#verifier = verifier;
    this.#signal = signal;
  }

  async add(tree: Tree): Promise<void> {
    const pause = timeSlices(this.#signal);
    const waiting: Checksum[] = [];
    if (this.#dirmetas.add(tree.meta)) await this.#verifier.add('dirmeta', tree.meta);
    if (this.#dirtrees.add(tree.contents)) waiting.push(tree.contents);
    for (let contents = waiting.pop(); contents !== undefined; contents = waiting.pop()) {
      await this.#verifier.add('dirtree', contents);
      for (const [type, checksum] of this.#children(contents)) {
        if (type === 'dirtree') waiting.push(checksum);
        else {
          const full = this.#verifier.add(type, checksum);
          if (full) await full;
        }
      }
      await pause();
    }
  }

  /** What a dirtree has that was not met before. Nothing below one that is not what it should be: see the verifier. */
  #children(contents: Checksum): [type: 'dirtree' | 'dirmeta' | 'file', checksum: Checksum][] {
    const data = readDirTreeBytes(this.#repos, contents);
    const found: [type: 'dirtree' | 'dirmeta' | 'file', checksum: Checksum][] = [];
    if (!data) return found;
    const hex = (item: Buffer, at: number) => item.toString('hex', at, at + 32);
    try {
      visitDirTree(data, `${contents}.dirtree`, {
        file: (item, at) => {
          if (this.#files.addBytes(item, at)) found.push(['file', hex(item, at)]);
        },
        folder: (item, at, metaAt) => {
          if (this.#dirmetas.addBytes(item, metaAt)) found.push(['dirmeta', hex(item, metaAt)]);
          if (this.#dirtrees.addBytes(item, at)) found.push(['dirtree', hex(item, at)]);
        },
      });
    } catch (error) {
      if (!(error instanceof OstreeError)) throw error;
    }
    return found;
  }
}

/** The bytes of a dirtree; null when it is not there, or not what its name says. */
export function readDirTreeBytes(repos: readonly Repo[], contents: Checksum): Buffer | null {
  for (const repo of repos) {
    try {
      const data = readFileSync(objectPath(repo, 'dirtree', contents));
      return hash('sha256', data) === contents ? data : null;
    } catch (error) {
      if (systemCode(error) !== 'ENOENT') throw error;
    }
  }
  return null;
}
