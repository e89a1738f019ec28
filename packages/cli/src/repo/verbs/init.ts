import { createRepo, OstreeError, openRepo, type RepoMode, writeConfig } from '@treeline/ostree';
import { UsageError } from '../options.ts';
import { type RepoVerb, repoPathOf } from '../verb.ts';

const modes: Record<string, RepoMode> = {
  archive: 'archive',
  'archive-z2': 'archive',
  'bare-user-only': 'bare-user-only',
};

export const init: RepoVerb = {
  usage: '',
  options: {
    mode: { type: 'string', argument: 'MODE', help: 'Initialize repository in given mode (archive, bare-user-only)' },
    'collection-id': { type: 'string', argument: 'ID', help: 'Globally unique ID for this repository' },
  },
  async run(parsed) {
    // libostree's default is bare, which is not written here yet: say the mode rather than guess one.
    const name = parsed.text('mode');
    const path = repoPathOf(parsed);
    if (name === undefined) {
      await openRepo(path).catch((error: unknown) => {
        if (error instanceof OstreeError && error.code === 'not-found') {
          throw new UsageError('Say the mode: --mode=archive or --mode=bare-user-only');
        }
        throw error;
      });
      return;
    }
    const mode = modes[name];
    if (!mode)
      throw new UsageError(`Invalid mode '${name}' in repository configuration: use archive or bare-user-only`);
    const repo = await createRepo(path, { mode });
    const collection = parsed.text('collection-id');
    if (collection) {
      repo.config.get('core')!.set('collection-id', collection);
      await writeConfig(repo, repo.config);
    }
  },
};
