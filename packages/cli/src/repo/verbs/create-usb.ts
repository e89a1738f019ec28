import { copyToMedium } from '@treeline/ostree/find/copy-to-medium.ts';
import { UsageError } from '../options.ts';
import { openNamedRepo, type RepoVerb, say } from '../verb.ts';
import { collectionRefs } from './find-remotes.ts';

export const createUsb: RepoVerb = {
  usage: 'MOUNT-PATH COLLECTION-ID REF [COLLECTION-ID REF...]',
  options: {
    'disable-fsync': { type: 'boolean', help: 'Do not invoke fsync()' },
    'destination-repo': {
      type: 'string',
      argument: 'DEST',
      help: 'Use custom repository directory within the mount',
    },
    commit: {
      type: 'string',
      argument: 'COMMIT',
      help: 'Pull a specific commit (only works when a single ref is specified)',
    },
  },
  async run(parsed, signal) {
    const [mount, ...rest] = parsed.positionals;
    if (mount === undefined) throw new UsageError('A MOUNT-PATH must be specified', { showHelp: true });
    const refs = collectionRefs(rest);
    const commit = parsed.text('commit');
    if (commit !== undefined && refs.length > 1) {
      throw new UsageError('The --commit option can only be used when a single COLLECTION-ID REF pair is specified', {
        showHelp: true,
      });
    }
    const repo = await openNamedRepo(parsed);
    const destination = parsed.text('destination-repo') ?? '.ostree/repo';
    await copyToMedium(repo, mount, refs, {
      destination,
      ...(commit !== undefined && { commit }),
      fsync: !parsed.flag('disable-fsync'),
      signal,
    });
    const all = `${refs.length}/${refs.length}`;
    say(`Copied ${all} refs successfully from ‘${repo.path}’ to ‘${destination}’ repository in ‘${mount}’.`);
    return 0;
  },
};
