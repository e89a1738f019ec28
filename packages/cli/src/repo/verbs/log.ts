import { hasObject, readCommit } from '@treeline/ostree/repo/objects.ts';
import { formatObject } from '../commit-text.ts';
import { commitOf, openNamedRepo, type RepoVerb, required } from '../verb.ts';

export const log: RepoVerb = {
  usage: 'REV',
  options: { raw: { type: 'boolean', help: 'Show raw variant data' } },
  async run(parsed) {
    const rev = required(parsed, 0, 'A rev argument is required');
    const repo = await openNamedRepo(parsed);
    const raw = parsed.flag('raw') ? 'swapped' : null;
    for (let next: string | null = await commitOf(repo, rev); next !== null; ) {
      process.stdout.write(await formatObject(repo, 'commit', next, raw));
      next = (await readCommit(repo, next)).parent;
      if (next && !hasObject(repo, 'commit', next)) {
        process.stdout.write('<< History beyond this commit not fetched >>\n');
        return;
      }
    }
  },
};
