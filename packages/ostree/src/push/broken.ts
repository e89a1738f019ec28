import { setImmediate as nextTurn } from 'node:timers/promises';
import type { Checksum } from '../formats/object-name.ts';
import { readDirTreeSync } from '../pull/known-trees.ts';
import { hasObject } from '../repo/objects.ts';
import type { Repo } from '../repo/repo.ts';
import { receivedName } from '../work/receive-object.ts';
import { locateReceived, readReceivedCommit } from './finish.ts';
import type { PushSession } from './session.ts';

const SLICE_MS = 8;

/**
 * The folders of a commit below which something is missing, and the commit itself, by file name. A sender who believes
 * that what is there is whole, as treehub's do, has to be told that these are not, or it never looks below.
 */
export async function brokenObjects(repo: Repo, session: PushSession, commit: Checksum): Promise<Set<string>> {
  const broken = new Set<string>([receivedName('commit', commit)]);
  const root = readReceivedCommit(repo, session, commit)?.tree.contents;
  if (root === undefined) return broken;
  const isThere = (type: 'file' | 'dirmeta', checksum: Checksum) =>
    session.has({ type, checksum }) || hasObject(repo, type, checksum);
  const seen = new Map<Checksum, boolean>();
  /** Depth first, without recursion: a hostile tree may be deeper than the stack. */
  const path: { checksum: Checksum; below: Checksum[]; todo: Checksum[]; whole: boolean }[] = [];
  const enter = (checksum: Checksum): void => {
    const tree = readDirTreeSync(locateReceived(repo, session, 'dirtree', checksum), checksum);
    seen.set(checksum, false);
    if (!tree) return;
    const files = [...tree.files.values()].every((file) => isThere('file', file));
    const folders = [...tree.dirs.values()];
    const whole = files && folders.every(({ meta }) => isThere('dirmeta', meta));
    const below = folders.map(({ contents }) => contents);
    path.push({ checksum, below, todo: [...below], whole });
  };
  enter(root);
  let until = Date.now() + SLICE_MS;
  for (let folder = path.at(-1); folder; folder = path.at(-1)) {
    // Each is looked at once, however many folders there are.
    let next = folder.todo.pop();
    while (next !== undefined && seen.has(next)) next = folder.todo.pop();
    if (next !== undefined) enter(next);
    else {
      path.pop();
      const whole = folder.whole && folder.below.every((one) => seen.get(one) === true);
      seen.set(folder.checksum, whole);
      if (!whole) broken.add(receivedName('dirtree', folder.checksum));
    }
    if (Date.now() < until) continue;
    await nextTurn();
    until = Date.now() + SLICE_MS;
  }
  return broken;
}
