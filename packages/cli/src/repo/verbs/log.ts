import { hasObject, readCommit } from '@treeline/ostree';
import { formatCommit } from '../commit-text.ts';
import { commitOf, openNamedRepo, type RepoVerb, required } from '../verb.ts';

export const log: RepoVerb = {
  usage: 'REV',
  options: {},
  async run(parsed) {
    const rev = required(parsed, 0, 'A rev argument is required');
    const repo = await openNamedRepo(parsed);
    for (let next: string | null = await commitOf(repo, rev); next !== null; ) {
      const commit = await readCommit(repo, next);
      process.stdout.write(formatCommit(next, commit));
      next = commit.parent;
      if (next && !hasObject(repo, 'commit', next)) {
        process.stdout.write('<< History beyond this commit not fetched >>\n');
        return;
      }
    }
  },
};
