import { isChecksum, pull } from '@treeline/ostree';
import { formatPull } from '../pull-summary.ts';
import { integer, openNamedRepo, type RepoVerb, required, say } from '../verb.ts';

export const pullLocal: RepoVerb = {
  usage: 'SRC_REPO [REFS…]',
  options: {
    remote: { type: 'string', argument: 'REMOTE', help: 'Add REMOTE to refspec' },
    'disable-fsync': { type: 'boolean', help: 'Do not invoke fsync()' },
    untrusted: { type: 'boolean', help: 'Verify checksums of objects (always enabled)' },
    'commit-metadata-only': { type: 'boolean', help: 'Fetch only the commit metadata' },
    depth: { type: 'string', argument: 'DEPTH', help: 'Traverse DEPTH parents (-1=infinite) (default: 0)' },
    'disable-verify-bindings': { type: 'boolean', help: 'Do not verify commit bindings' },
    'disable-static-deltas': { type: 'boolean', help: 'Do not use static deltas' },
  },
  async run(parsed, signal) {
    const source = required(parsed, 0, 'DESTINATION must be specified');
    const opened = await openNamedRepo(parsed);
    const repo = parsed.flag('disable-fsync') ? { ...opened, fsync: false } : opened;
    const wanted = parsed.positionals.slice(1);
    const remote = parsed.text('remote');
    const depth = integer(parsed.text('depth'), 'depth');
    const started = Date.now();
    const stats = await pull(repo, {
      url: source,
      // Without either, everything.
      ...(wanted.length > 0
        ? { refs: wanted.filter((one) => !isChecksum(one)), commits: wanted.filter(isChecksum) }
        : {}),
      commitMetadataOnly: parsed.flag('commit-metadata-only'),
      verifyBindings: !parsed.flag('disable-verify-bindings'),
      signal,
      ...(remote === undefined ? {} : { remote }),
      ...(depth === undefined ? {} : { depth }),
    });
    say(formatPull(stats, Date.now() - started));
  },
};
