import { UsageError } from '../options.ts';
import { commitOf, openNamedRepo, type RepoVerb, say } from '../verb.ts';

export const revParse: RepoVerb = {
  usage: 'REV…',
  options: {},
  async run(parsed) {
    if (parsed.positionals.length === 0) throw new UsageError('REV must be specified');
    const repo = await openNamedRepo(parsed);
    for (const rev of parsed.positionals) say(await commitOf(repo, rev));
  },
};
