import { join } from 'node:path';
import { OstreeError } from '../errors.ts';
import { type Checksum, compareNames } from '../formats/object-name.ts';
import { foldersIn, isRefName, readRefFile, refFiles, setRefFile } from './refs.ts';
import { readRemotes } from './remotes.ts';
import type { Repo } from './repo.ts';

/**
 * A ref whose name is unique in the world: the ids of collections are reverse domain names (`org.example.Robots`), and
 * a ref belongs to one, wherever a copy of it is.
 */
export interface CollectionRef {
  collection: string;
  ref: string;
}

/** What a collection's id is made of: two or more names with dots between them, as D-Bus interfaces have. */
const COLLECTION = /^[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)+$/;

/** Whether a text can be the id of a collection: a reversed domain name, as `org.example.Os`. */
export function isCollectionId(text: string): boolean {
  return text.length <= 255 && COLLECTION.test(text);
}

/** Throws `invalid` unless this can be the id of a collection. */
export function assertCollectionId(text: string): string {
  if (isCollectionId(text)) return text;
  throw new OstreeError('invalid', `Invalid collection ID ${text}`, {
    hint: 'A collection has a reverse domain name, for example org.example.Robots.',
  });
}

/** The collection to which a repository's own refs belong (`core.collection-id`), or null. */
export function ownCollection(repo: Repo): string | null {
  const id = repo.config.get('core')?.get('collection-id');
  return id && isCollectionId(id) ? id : null;
}

/** Where a ref of a collection is written: among the repository's own refs, or in `refs/mirrors/COLLECTION`. */
export function collectionRefPath(repo: Repo, { collection, ref }: CollectionRef): string {
  assertCollectionId(collection);
  if (!isRefName(ref)) throw new OstreeError('invalid', `Invalid ref name ${ref}`);
  const folder = collection === ownCollection(repo) ? 'refs/heads' : `refs/mirrors/${collection}`;
  return join(repo.path, folder, ref);
}

/**
 * Points a ref of a collection at a commit, durably, or deletes it (`null`). The commit is not looked up.
 *
 * @throws OstreeError `invalid` for names that cannot be, `exists` when another ref is in the way
 */
export async function setCollectionRef(repo: Repo, ref: CollectionRef, commit: Checksum | null): Promise<void> {
  await setRefFile(repo, collectionRefPath(repo, ref), ref.ref, commit);
}

/** Which refs of collections are listed. */
export interface ListCollectionRefsOptions {
  /** Only refs of this collection. */
  collection?: string;
  /** Leave out what was pulled from remotes that have a collection. */
  excludeRemotes?: boolean;
  /** Leave out `refs/mirrors`. */
  excludeMirrors?: boolean;
  /** Called for a ref that cannot be read, which is then left out. Without it such a ref is an error. */
  onBroken?: (ref: CollectionRef, error: OstreeError) => void;
}

/**
 * All refs of which it is known to what collection they belong: the repository's own if it has a collection, those
 * mirrored, and those pulled from a remote that is configured with a collection. Sorted; where a ref is in several of
 * these places, the later counts, as it does for libostree.
 *
 * @throws OstreeError `corrupt` for a ref that holds no checksum, `invalid` for a name that cannot be a ref's
 */
export async function listCollectionRefs(
  repo: Repo,
  options: ListCollectionRefsOptions = {},
): Promise<(CollectionRef & { commit: Checksum })[]> {
  const { collection: wanted, onBroken } = options;
  if (wanted !== undefined) assertCollectionId(wanted);
  const found = new Map<string, CollectionRef & { commit: Checksum }>();
  const collect = (folder: string, collection: string | null | undefined) => {
    if (!collection || (wanted !== undefined && collection !== wanted)) return;
    for (const { name: ref, path } of refFiles(folder)) {
      try {
        if (!isRefName(ref)) throw new OstreeError('invalid', `Invalid ref name ${ref}`);
        const commit = readRefFile(path);
        if (commit) found.set(`${collection}\n${ref}`, { collection, ref, commit });
      } catch (error) {
        if (!onBroken || !(error instanceof OstreeError)) throw error;
        onBroken({ collection, ref }, error);
      }
    }
  };
  collect(join(repo.path, 'refs/heads'), ownCollection(repo));
  if (!options.excludeMirrors) {
    const mirrors = join(repo.path, 'refs/mirrors');
    for (const collection of foldersIn(mirrors)) {
      if (isCollectionId(collection)) collect(join(mirrors, collection), collection);
    }
  }
  if (!options.excludeRemotes) {
    const remotes = await readRemotes(repo);
    for (const remote of foldersIn(join(repo.path, 'refs/remotes'))) {
      const collection = remotes.get(remote)?.keys.get('collection-id');
      if (collection && isCollectionId(collection)) collect(join(repo.path, 'refs/remotes', remote), collection);
    }
  }
  return [...found.values()].sort((a, b) => compareNames(a.collection, b.collection) || compareNames(a.ref, b.ref));
}

/** The commit that a ref of a collection names here, or null: of the places that listCollectionRefs looks at. */
export async function readCollectionRef(repo: Repo, { collection, ref }: CollectionRef): Promise<Checksum | null> {
  if (!isRefName(ref)) throw new OstreeError('invalid', `Invalid ref name ${ref}`);
  const found = await listCollectionRefs(repo, { collection });
  return found.find((one) => one.ref === ref)?.commit ?? null;
}
