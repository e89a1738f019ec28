import type { Tree } from '../formats/object-name.ts';
import { hasObject } from '../repo/objects.ts';
import type { Repo } from '../repo/repo.ts';
import { type NeededObject, walkClosure } from './walk-closure.ts';

/** An object that a tree needs and the repository does not have, or has in a form that cannot be read. */
export interface Missing extends NeededObject {
  kind: 'missing' | 'corrupt';
}

/** How a tree is walked. */
export interface ClosureOptions {
  signal?: AbortSignal;
  /** Stop after so many. Default 1000. */
  limit?: number;
}

/**
 * What a repository lacks of a tree: nothing (`[]`) means that it can be checked out. Folders are read and hashed;
 * of files only the existence is looked at (fsck reads them, too).
 */
export async function hasClosure(repo: Repo, tree: Tree, options: ClosureOptions = {}): Promise<Missing[]> {
  const { limit = 1000, signal } = options;
  const found: Missing[] = [];
  const onDamaged = (object: NeededObject) => void found.push({ ...object, kind: 'corrupt' });
  for await (const batch of walkClosure(repo, [{ tree }], { signal, onDamaged })) {
    for (const object of batch) {
      if (!hasObject(repo, object.type, object.checksum)) found.push({ ...object, kind: 'missing' });
    }
    if (found.length >= limit) break;
  }
  return found.slice(0, limit);
}
