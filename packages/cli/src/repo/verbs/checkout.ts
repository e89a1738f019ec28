import { checkout, readCommit } from '@treeline/ostree';
import { commitOf, openNamedRepo, type RepoVerb, required } from '../verb.ts';

export const checkoutVerb: RepoVerb = {
  usage: 'COMMIT [DESTINATION]',
  options: {
    'user-mode': {
      type: 'boolean',
      short: 'U',
      help: 'Do not change file ownership or initialize extended attributes',
    },
    subpath: { type: 'string', argument: 'PATH', help: 'Checkout sub-directory PATH' },
    union: { type: 'boolean', help: 'Keep existing directories, overwrite existing files' },
    'union-add': { type: 'boolean', help: 'Keep existing files and directories, only add new' },
    'force-copy': { type: 'boolean', short: 'C', help: 'Never hardlink (but may reflink if available)' },
    'require-hardlinks': { type: 'boolean', short: 'H', help: 'Do not fall back to full copies if hardlinking fails' },
    'disable-cache': {
      type: 'boolean',
      help: 'Do not update or use the internal repository uncompressed object cache',
    },
    fsync: { type: 'string', argument: 'POLICY', help: 'Specify how to invoke fsync()' },
  },
  async run(parsed, signal) {
    const rev = required(parsed, 0, 'COMMIT must be specified');
    const repo = await openNamedRepo(parsed);
    const commit = await commitOf(repo, rev);
    const { tree } = await readCommit(repo, commit);
    const subpath = parsed.text('subpath');
    await checkout(repo, tree, parsed.positionals[1] ?? commit, {
      userMode: parsed.flag('user-mode'),
      union: parsed.flag('union') ? 'overwrite' : parsed.flag('union-add') ? 'add' : 'none',
      hardLink: !parsed.flag('force-copy'),
      signal,
      ...(subpath === undefined ? {} : { subpath }),
    });
  },
};
