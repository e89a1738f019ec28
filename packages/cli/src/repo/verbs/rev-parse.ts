import { OstreeError } from '@treeline/ostree/errors.ts';
import { listCommits } from '@treeline/ostree/repo/refs.ts';
import { UsageError } from '../options.ts';
import { commitOf, openNamedRepo, type RepoVerb, say } from '../verb.ts';

export const revParse: RepoVerb = {
  usage: 'REV…',
  options: {
    single: {
      type: 'boolean',
      short: 'S',
      help: 'If the repository has exactly one commit, then print it; any other case will result in an error',
    },
  },
  async run(parsed) {
    const repo = await openNamedRepo(parsed);
    if (parsed.flag('single')) {
      if (parsed.positionals.length > 0) {
        throw new UsageError('Cannot specify arguments with --single', { showHelp: true });
      }
      const [commit, second] = await listCommits(repo);
      if (second) throw new OstreeError('invalid', 'Multiple commit objects found');
      if (!commit) throw new OstreeError('not-found', 'No commit objects found');
      say(commit);
      return 0;
    }
    if (parsed.positionals.length === 0) throw new UsageError('REV must be specified', { showHelp: true });
    for (const rev of parsed.positionals) say(await commitOf(repo, rev));
    return 0;
  },
};
