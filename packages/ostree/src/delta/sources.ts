import type { Checksum } from '../formats/object-name.ts';
import type { TreeObjects } from './tree-objects.ts';

/** What is known of a regular file, to judge whether it can be a source. */
export interface FileFacts {
  size: number;
  /** st_mode. */
  mode: number;
}

/** How a source is found: the first of these that gives one. */
type Key = (path: string) => string;

/**
 * `6.1.0-50` and `6.1.0-56` are the same here, `libx.so.1.2` and `libx.so.1.3` as well: each run of digits, with what
 * joins them, is one mark.
 */
const withoutVersions: Key = (path) => path.replace(/\d+(?:[.+~_-]\d+)*/g, '#');
const baseName: Key = (path) => path.slice(path.lastIndexOf('/') + 1);

const KEYS: readonly Key[] = [
  (path) => path,
  withoutVersions,
  baseName,
  (path) => withoutVersions(baseName(path)),
  // Up to the first dot, as libostree has it.
  (path) => baseName(path).replace(/^([^.]+)\..*$/, '$1.'),
];

/** A name that so many files have says nothing about their content; only the best of a few is looked for. */
const MAX_CANDIDATES = 64;

/** Names of what is compressed so that nothing in it is like what it was before. */
const INCOMPARABLE = /\.(?:xz|bz2|zst|lzma|lz4|7z|zip|jpe?g|png|webp|woff2?|mp[34]|og[gv]|webm)$/;

/** Whether files of these names can have anything in common with others. */
export function isComparable(paths: readonly string[]): boolean {
  return !paths.some((path) => INCOMPARABLE.test(path));
}

/**
 * Finds sources by name: the file at the same path, at the same path but for versions, of the same base name, and so
 * on. Among several, the one whose path has most in common, then the one nearest in size.
 */
export class SourceFinder {
  readonly #tables: Map<string, Checksum[]>[];
  readonly #old: TreeObjects;
  readonly #facts: (checksum: Checksum) => FileFacts | null;

  /** @param facts of an old object; null when it is no regular file */
  constructor(old: TreeObjects, facts: (checksum: Checksum) => FileFacts | null) {
    this.#old = old;
    this.#facts = facts;
    this.#tables = KEYS.map(() => new Map());
    for (const [checksum, paths] of old.files) {
      for (const path of paths) {
        for (const [index, key] of KEYS.entries()) {
          const name = key(path);
          const list = this.#tables[index]!.get(name);
          if (!list) this.#tables[index]!.set(name, [checksum]);
          else if (list.length < MAX_CANDIDATES && list.at(-1) !== checksum) list.push(checksum);
        }
      }
    }
  }

  /** The source of a new file, or null. */
  find(paths: readonly string[], size: number): Checksum | null {
    if (size === 0 || !isComparable(paths)) return null;
    for (const [index, key] of KEYS.entries()) {
      const candidates = new Set<Checksum>();
      for (const path of paths) for (const one of this.#tables[index]!.get(key(path)) ?? []) candidates.add(one);
      const best = this.#best(candidates, paths, size);
      if (best) return best;
    }
    return null;
  }

  #best(candidates: ReadonlySet<Checksum>, paths: readonly string[], size: number): Checksum | null {
    let best: Checksum | null = null;
    let bestScore = Number.NEGATIVE_INFINITY;
    for (const checksum of candidates) {
      const facts = this.#facts(checksum);
      if (!facts || !isUsableSource(facts)) continue;
      const ratio = Math.min(facts.size, size) / Math.max(facts.size, size);
      // Folders in common count, and a file of another order of size is another file.
      const common = Math.max(...this.#old.files.get(checksum)!.map((path) => commonParts(path, paths)));
      const score = common + 4 * ratio - (ratio < 0.1 ? 8 : 0);
      if (score > bestScore) {
        bestScore = score;
        best = checksum;
      }
    }
    return bestScore > 0 ? best : null;
  }
}

/**
 * libostree's condition: a source must be readable by everybody, since a client that is not root may have to read it
 * in a repository of root.
 */
export function isUsableSource({ size, mode }: FileFacts): boolean {
  return size > 0 && (mode & 0o004) !== 0;
}

/** How many parts of two paths are the same but for versions, at most over several paths. */
function commonParts(path: string, others: readonly string[]): number {
  const parts = withoutVersions(path).split('/');
  let most = 0;
  for (const other of others) {
    const theirs = new Set(withoutVersions(other).split('/'));
    let common = 0;
    for (const part of parts) if (theirs.has(part)) common++;
    if (common > most) most = common;
  }
  return most;
}
