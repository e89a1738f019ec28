import type { Stats } from 'node:fs';

/** Files that have been counted. One for several repositories, and what they share by hard links is counted once. */
export class CountedFiles {
  readonly #inodes = new Map<number, Set<number>>();

  /** Takes a file down. Returns false when it, under whatever name, has been before. */
  add({ dev, ino, nlink }: Pick<Stats, 'dev' | 'ino' | 'nlink'>): boolean {
    if (nlink < 2) return true; // cannot be met again
    let known = this.#inodes.get(dev);
    if (!known) {
      known = new Set();
      this.#inodes.set(dev, known);
    }
    if (known.has(ino)) return false;
    known.add(ino);
    return true;
  }
}
