import type { Checksum } from '../formats/object-name.ts';
import { isCollectionId } from '../repo/collection-refs.ts';
import type { Repo } from '../repo/repo.ts';
import { assertBinding } from './bindings.ts';
import type { PulledCommit } from './history.ts';
import type { PullOptions } from './pull.ts';
import type { Remote } from './remote.ts';
import { assertNotOlder, currentCommit, type Since, sinceRevision } from './timestamps.ts';
import type { WantedRef } from './wanted-refs.ts';

export type CommitCheckOptions = Pick<
  PullOptions,
  'remote' | 'collectionId' | 'verifyBindings' | 'timestampCheck' | 'timestampCheckFrom'
>;

/** What commits are held against when they are known: bindings, and times. */
export async function commitChecks(
  repo: Repo,
  remote: Remote,
  wanted: readonly WantedRef[],
  options: CommitCheckOptions,
): Promise<(commits: ReadonlyMap<Checksum, PulledCommit>) => void> {
  const since = options.timestampCheckFrom === undefined ? null : await sinceRevision(repo, options.timestampCheckFrom);
  const current = new Map<WantedRef, Since | null>();
  if (options.timestampCheck) {
    for (const ref of wanted) current.set(ref, await currentCommit(repo, ref.name, options.remote));
  }
  const own = remote.repo ? remote.collection : (options.collectionId ?? null);
  const collection = own !== null && isCollectionId(own) ? own : null;
  return (commits) => {
    for (const ref of wanted) {
      const { commit } = commits.get(ref.commit)!;
      const before = current.get(ref);
      if (before) assertNotOlder(before, ref.commit, commit);
      if (options.verifyBindings === false) continue;
      // What a local repository has itself from a remote is bound to that remote's name for it.
      const name = ref.name.slice(ref.name.indexOf(':') + 1);
      assertBinding(ref.commit, commit, { ref: name, collection });
    }
    for (const { checksum, commit } of commits.values()) {
      if (since) assertNotOlder(since, checksum, commit);
      if (options.verifyBindings !== false) assertBinding(checksum, commit, { ref: null, collection });
    }
  };
}
