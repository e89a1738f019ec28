import { OstreeError } from '@treeline/ostree/errors.ts';
import { assertCollectionId } from '@treeline/ostree/repo/collection-refs.ts';
import { createRepo, openRepo, type RepoMode, writeConfig } from '@treeline/ostree/repo/repo.ts';
import { UsageError } from '../options.ts';
import { type RepoVerb, repoPathOf } from '../verb.ts';

const modes: Record<string, RepoMode> = {
  archive: 'archive',
  'archive-z2': 'archive',
  bare: 'bare',
  'bare-user': 'bare-user',
  'bare-user-only': 'bare-user-only',
};

export const init: RepoVerb = {
  usage: '',
  options: {
    mode: {
      type: 'string',
      argument: 'MODE',
      help: 'Initialize repository in given mode (bare, bare-user, bare-user-only, archive)',
    },
    'collection-id': {
      type: 'string',
      argument: 'COLLECTION-ID',
      help: 'Globally unique ID for this repository as an collection of refs for redistribution to other repositories',
    },
  },
  async run(parsed) {
    const name = parsed.text('mode') ?? 'bare';
    const mode = Object.hasOwn(modes, name) ? modes[name] : undefined;
    if (!mode) throw new UsageError(`Invalid mode '${name}' in repository configuration`);
    const collection = parsed.text('collection-id');
    if (collection !== undefined) assertCollectionId(collection);
    const path = repoPathOf(parsed);
    // A repository that is there stays as it is, whatever its mode, as for ostree.
    const existing = await openRepo(path).catch((error: unknown) => {
      if (error instanceof OstreeError && error.code === 'not-found') return null;
      throw error;
    });
    if (existing) return 0;
    const repo = await createRepo(path, { mode });
    if (collection !== undefined) {
      repo.config.get('core')!.set('collection-id', collection);
      await writeConfig(repo, repo.config);
    }
    return 0;
  },
};
