import { compareNames, OstreeError, printValue, readCommit, readDetachedMetadata } from '@treeline/ostree';
import { formatCommit } from '../commit-text.ts';
import { formatCommitSignatures } from '../gpg-text.ts';
import { commitOf, openNamedRepo, type RepoVerb, required, say } from '../verb.ts';

export const show: RepoVerb = {
  usage: 'OBJECT',
  options: {
    'print-metadata-key': { type: 'string', argument: 'KEY', help: 'Print string value of metadata key' },
    'print-detached-metadata-key': {
      type: 'string',
      argument: 'KEY',
      help: 'Print string value of detached metadata key',
    },
    'list-metadata-keys': { type: 'boolean', help: 'List the available metadata keys' },
    'list-detached-metadata-keys': { type: 'boolean', help: 'List the available detached metadata keys' },
    'gpg-homedir': { type: 'string', argument: 'HOMEDIR', help: 'GPG Homedir to use when looking for keyrings' },
    'gpg-verify-remote': { type: 'string', argument: 'REMOTE', help: 'Use REMOTE name for GPG configuration' },
  },
  async run(parsed) {
    const rev = required(parsed, 0, 'An object argument is required');
    const repo = await openNamedRepo(parsed);
    const checksum = await commitOf(repo, rev);
    const commit = await readCommit(repo, checksum);
    const detachedKey = parsed.text('print-detached-metadata-key');
    const listDetached = parsed.flag('list-detached-metadata-keys');
    const key = parsed.text('print-metadata-key') ?? detachedKey;
    const list = parsed.flag('list-metadata-keys') || listDetached;
    if (key === undefined && !list) {
      const trust = { remote: parsed.text('gpg-verify-remote'), homedir: parsed.text('gpg-homedir') };
      process.stdout.write(formatCommit(checksum, commit) + (await formatCommitSignatures(repo, checksum, trust)));
      return;
    }
    const detached = detachedKey !== undefined || listDetached;
    const metadata = detached ? await readDetachedMetadata(repo, checksum) : commit.metadata;
    if (!metadata) throw new OstreeError('not-found', `No detached metadata for commit ${checksum}`);
    if (list) {
      for (const name of metadata.map(([key]) => key).toSorted(compareNames)) say(name);
      return;
    }
    const value = metadata.find(([name]) => name === key)?.[1];
    if (!value) throw new OstreeError('not-found', `No such metadata key '${key}'`);
    say(printValue(value.type, value.value));
  },
};
