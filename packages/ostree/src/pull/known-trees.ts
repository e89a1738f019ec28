import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { OstreeError, systemCode } from '../errors.ts';
import { changedEntries } from '../formats/changed-entries.ts';
import { decodeCommit } from '../formats/commit.ts';
import { type DirTree, decodeDirTree } from '../formats/dirtree.ts';
import type { Checksum } from '../formats/object-name.ts';
import { assertHash, objectPath } from '../repo/objects.ts';
import type { Repo } from '../repo/repo.ts';

/*
 * A pull or a copy may be interrupted at any object, so that a folder which is there may lack what is in it. Only
 * a commit is written after everything that it needs. A subtree is therefore passed over only if a complete commit
 * of the receiving repository has it at the same path; anything else is looked at, which costs no network.
 */

/** Where a commit whose tree is not all there is marked, here and by libostree. */
export function partialMark(repo: Repo, commit: Checksum): string {
  return join(repo.path, 'state', `${commit}.commitpartial`);
}

/** Whether a commit is there with everything that it needs. */
export function isComplete(repo: Repo, commit: Checksum): boolean {
  return existsSync(objectPath(repo, 'commit', commit)) && !existsSync(partialMark(repo, commit));
}

/** The root dirtrees of those of these commits that are complete, without duplicates. */
export function completeRoots(repo: Repo, commits: Iterable<Checksum>): Checksum[] {
  const roots = new Set<Checksum>();
  for (const commit of commits) {
    if (!isComplete(repo, commit)) continue;
    const data = readFileSync(objectPath(repo, 'commit', commit));
    assertHash(data, commit, 'commit');
    roots.add(decodeCommit(data, `${commit}.commit`).tree.contents);
  }
  return [...roots];
}

/** Reads a dirtree at once; null when it is not there. Throws `corrupt`. */
export function readDirTreeSync(path: string, checksum: Checksum): DirTree | null {
  const data = readDataSync(path, checksum);
  return data && decodeDirTree(data, `${checksum}.dirtree`);
}

/**
 * Reads a dirtree beside those that complete trees have at its path. Of what is the same in one of them nothing has to be
 * looked at, so it may be left out of `tree`. Null when it is not there.
 *
 * @param known the dirtrees, of this repository
 * @throws OstreeError `corrupt`
 */
export function readBeside(
  path: string,
  checksum: Checksum,
  { repo, known }: { repo: Repo; known: readonly Checksum[] },
): { tree: DirTree; known: KnownFolders } | null {
  const data = readDataSync(path, checksum);
  if (data === null) return null;
  const [only] = known;
  if (only !== undefined && known.length === 1) {
    const before = readDataSync(objectPath(repo, 'dirtree', only), only);
    const changes = before && changedEntries(data, before);
    if (changes) return { tree: changes.now, known: new KnownFolders([changes.before]) };
  }
  return { tree: decodeDirTree(data, `${checksum}.dirtree`), known: KnownFolders.read(repo, known) };
}

function readDataSync(path: string, checksum: Checksum): Buffer | null {
  let data: Buffer;
  try {
    data = readFileSync(path);
  } catch (cause) {
    if (systemCode(cause) === 'ENOENT') return null;
    const object = `${checksum}.dirtree`;
    throw new OstreeError('io', `${path}: ${(cause as Error).message}`, { object, cause });
  }
  assertHash(data, checksum, 'dirtree');
  return data;
}

/** The folders that complete trees have at one path, to hold a new one against. */
export class KnownFolders {
  readonly #trees: readonly DirTree[];

  constructor(trees: readonly DirTree[]) {
    this.#trees = trees;
  }

  static read(repo: Repo, contents: readonly Checksum[]): KnownFolders {
    return new KnownFolders(
      contents.flatMap((checksum) => readDirTreeSync(objectPath(repo, 'dirtree', checksum), checksum) ?? []),
    );
  }

  hasFile(name: string, checksum: Checksum): boolean {
    return this.#trees.some((tree) => tree.files.get(name) === checksum);
  }

  hasMeta(name: string, checksum: Checksum): boolean {
    return this.#trees.some((tree) => tree.dirs.get(name)?.meta === checksum);
  }

  /** The folder's contents in each known tree, or null when one is the same, so that nothing below can be missing. */
  below(name: string, checksum: Checksum): Checksum[] | null {
    const found: Checksum[] = [];
    for (const tree of this.#trees) {
      const contents = tree.dirs.get(name)?.contents;
      if (contents === checksum) return null;
      if (contents !== undefined) found.push(contents);
    }
    return found;
  }
}
