import { pull } from '@treeline/ostree/pull/pull.ts';
import { listRefs } from '@treeline/ostree/repo/refs.ts';
import { openRepo } from '@treeline/ostree/repo/repo.ts';
import { UsageError } from '../options.ts';
import { formatPull } from '../pull-summary.ts';
import { openNamedRepo, type RepoVerb, say } from '../verb.ts';
import { pullOptions, whatToPull, writableRepo } from './pull.ts';

export const pullLocal: RepoVerb = {
  usage: 'SRC_REPO [REFS...]',
  options: {
    'commit-metadata-only': { type: 'boolean', help: 'Fetch only the commit metadata' },
    remote: { type: 'string', argument: 'REMOTE', help: 'Add REMOTE to refspec' },
    'disable-fsync': { type: 'boolean', help: 'Do not invoke fsync()' },
    'per-object-fsync': {
      type: 'boolean',
      help: 'Perform writes in such a way that avoids stalling concurrent processes',
    },
    untrusted: { type: 'boolean', help: 'Verify checksums of local sources (always enabled for HTTP pulls)' },
    'bareuseronly-files': {
      type: 'boolean',
      help: 'Reject regular files with mode outside of 0775 (world writable, suid, etc.)',
    },
    'require-static-deltas': { type: 'boolean', help: 'Require static deltas' },
    'disable-static-deltas': { type: 'boolean', help: 'Do not use static deltas' },
    'gpg-verify': { type: 'boolean', help: 'GPG verify commits (must specify --remote)' },
    'gpg-verify-summary': { type: 'boolean', help: 'GPG verify summary (must specify --remote)' },
    'disable-verify-bindings': { type: 'boolean', help: 'Do not verify commit bindings' },
    depth: { type: 'integer', argument: 'DEPTH', help: 'Traverse DEPTH parents (-1=infinite) (default: 0)' },
  },
  async run(parsed, signal) {
    const source = parsed.positionals[0];
    if (source === undefined) throw new UsageError('DESTINATION must be specified', { showHelp: true });
    const repo = writableRepo(await openNamedRepo(parsed), parsed);
    const named = parsed.positionals.slice(1);
    const remote = parsed.text('remote');
    const started = Date.now();
    const stats = await pull(repo, {
      ...pullOptions(parsed),
      ...whatToPull(named.length > 0 ? named : [...(await listRefs(await openRepo(source))).keys()]),
      url: source,
      trusted: !parsed.flag('untrusted'),
      // Whoever can read the other repository by itself trusts it, unless the flags say otherwise.
      verify: {
        commits: { gpg: parsed.flag('gpg-verify'), sign: false },
        summary: { gpg: parsed.flag('gpg-verify-summary'), sign: false },
      },
      signal,
      ...(remote === undefined ? {} : { remote }),
    });
    say(formatPull(stats, Date.now() - started));
  },
};
