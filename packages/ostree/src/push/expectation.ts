import type { Checksum } from '../formats/object-name.ts';
import { hasObject, readCommit } from '../repo/objects.ts';
import type { Repo } from '../repo/repo.ts';
import { PushConflict } from './conflict.ts';

interface Expected {
  /** What is pushed. */
  commit: Checksum;
  /** What the ref holds at the receiver. */
  current: Checksum | null;
  options: { ref: string; expect?: Checksum | null; lastSeen?: Checksum | null; force?: boolean };
}

/**
 * What a push is to replace. The receiver only compares; that nothing is lost unseen is decided here: a ref may be made,
 * moved to a descendant of what it holds, or moved from what the caller has named or seen. Anything else takes `force`.
 *
 * @throws PushConflict
 */
export async function expectation(repo: Repo, { commit, current, options }: Expected): Promise<Checksum | null> {
  const { ref, expect, lastSeen, force = false } = options;
  if (force || current === commit) return current;
  if (expect !== undefined) {
    if (current === expect) return expect;
    throw new PushConflict(ref, current);
  }
  if (current === null || current === lastSeen) return current;
  if (await isAncestor(repo, current, commit)) return current;
  throw new PushConflict(ref, current, `ref ${ref} holds ${current}, which ${commit} does not descend from`);
}

/** Whether a commit is among the parents of another, as far as they are here. */
export async function isAncestor(repo: Repo, ancestor: Checksum, commit: Checksum): Promise<boolean> {
  let next: Checksum | null = commit;
  while (next !== null && hasObject(repo, 'commit', next)) {
    next = (await readCommit(repo, next)).parent;
    if (next === ancestor) return true;
  }
  return false;
}
