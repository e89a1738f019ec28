import { OstreeError } from '@treeline/ostree/errors.ts';
import { type FinderKind, type FoundRemote, findRemotes } from '@treeline/ostree/find/find-remotes.ts';
import { pull } from '@treeline/ostree/pull/pull.ts';
import { remoteOptions } from '@treeline/ostree/pull/remote-config.ts';
import type { CollectionRef } from '@treeline/ostree/repo/collection-refs.ts';
import type { Repo } from '@treeline/ostree/repo/repo.ts';
import { type Parsed, UsageError } from '../options.ts';
import { openNamedRepo, type RepoVerb, say } from '../verb.ts';

export const findRemotesVerb: RepoVerb = {
  usage: 'COLLECTION-ID REF [COLLECTION-ID REF...]',
  options: {
    'cache-dir': { type: 'string', argument: 'PATH', help: 'Use custom cache dir' },
    'disable-fsync': { type: 'boolean', help: 'Do not invoke fsync()' },
    finders: {
      type: 'string',
      argument: 'FINDERS',
      help: 'Use the specified comma separated list of finders (e.g. config,mount)',
    },
    pull: { type: 'boolean', help: 'Pull the updates after finding them' },
    mirror: { type: 'boolean', help: 'Do a mirror pull (see ostree pull --mirror)' },
  },
  async run(parsed, signal) {
    const refs = collectionRefs(parsed.positionals);
    if (parsed.flag('mirror') && !parsed.flag('pull')) {
      throw new UsageError('When --mirror is specified, --pull must also be', { showHelp: true });
    }
    const finders = findersOf(parsed);
    const opened = await openNamedRepo(parsed);
    const repo = parsed.flag('disable-fsync') ? { ...opened, fsync: false } : opened;
    const cacheFolder = parsed.text('cache-dir');
    const options = { ...(finders && { finders }), ...(cacheFolder !== undefined && { cacheFolder }), signal };
    const found = await findRemotes(repo, refs, options);
    for (const [index, remote] of found.entries()) tell(index, remote);
    if (found.length === 0) {
      say('No results.');
      return 0;
    }
    const missing = refs.filter((ref) => !found.some((remote) => commitIn(remote, ref)));
    say(`${refs.length - missing.length}/${refs.length} refs were found.`);
    if (missing.length > 0) {
      say('Refs not found in any remote:');
      for (const { collection, ref } of missing) say(` - (${collection}, ${ref})`);
    }
    if (parsed.flag('pull')) {
      await pullFrom(repo, found, parsed.flag('mirror'), signal);
      say(`Pulled ${refs.length}/${refs.length} refs successfully.`);
    }
    return 0;
  },
};

/** Pairs of a collection and a ref, as arguments. */
export function collectionRefs(positionals: string[]): CollectionRef[] {
  if (positionals.length < 2) {
    throw new UsageError('At least one COLLECTION-ID REF pair must be specified', { showHelp: true });
  }
  if (positionals.length % 2 === 1) {
    throw new UsageError('Only complete COLLECTION-ID REF pairs may be specified', { showHelp: true });
  }
  const refs: CollectionRef[] = [];
  for (let at = 0; at < positionals.length; at += 2) {
    refs.push({ collection: positionals[at]!, ref: positionals[at + 1]! });
  }
  return refs;
}

function findersOf(parsed: Parsed): FinderKind[] | undefined {
  const named = parsed.text('finders');
  if (named === undefined) return undefined;
  if (named === '') throw new UsageError('List of finders in --finders option must not be empty', { showHelp: true });
  const finders: FinderKind[] = [];
  for (const name of named.split(',')) {
    if (name === 'lan') {
      throw new UsageError('LAN repo finder requested but treeline has no Avahi support', { showHelp: true });
    }
    if ((name !== 'config' && name !== 'mount') || finders.includes(name)) {
      const message = `Unknown or duplicate finder type given in --finders option: ‘${name}’`;
      throw new UsageError(message, { showHelp: true });
    }
    finders.push(name);
  }
  return finders;
}

function commitIn({ refs }: FoundRemote, { collection, ref }: CollectionRef): string | null {
  return refs.find((one) => one.collection === collection && one.ref === ref)?.commit ?? null;
}

function tell(index: number, { url, finder, remote, priority, lastModified, refs }: FoundRemote): void {
  const time = lastModified ? new Date(lastModified * 1000).toISOString().replace(/\.\d+/, '') : 'unknown';
  say(`Result ${index}: ${url}`);
  say(` - Finder: OstreeRepoFinder${finder === 'config' ? 'Config' : 'Mount'}`);
  say(` - Keyring: ${remote}.trustedkeys.gpg`);
  say(` - Priority: ${priority}`);
  say(` - Summary last modified: ${time}`);
  say(' - Refs:');
  for (const { collection, ref, commit } of refs) say(`    - (${collection}, ${ref}) = ${commit ?? '(not found)'}`);
  say('');
}

/** Each ref from the first remote that gives it. Signatures are always demanded: who has a ref may be anybody. */
async function pullFrom(repo: Repo, found: FoundRemote[], mirror: boolean, signal: AbortSignal): Promise<void> {
  const waiting = new Map<string, CollectionRef>();
  for (const { refs } of found) {
    for (const { collection, ref, commit } of refs)
      if (commit) waiting.set(`${collection}, ${ref}`, { collection, ref });
  }
  for (const remote of found) {
    const refs = remote.refs.flatMap(({ collection, ref, commit }) =>
      commit && waiting.has(`${collection}, ${ref}`) ? [{ collection, ref, commit }] : [],
    );
    if (refs.length === 0) continue;
    try {
      await pull(repo, {
        ...(await remoteOptions(repo, remote.remote, remote.url)),
        collectionId: null,
        collectionRefs: refs,
        remote: remote.remote,
        mirror,
        verify: { commits: { gpg: true }, summary: { gpg: false, sign: false } },
        signal,
      });
      for (const { collection, ref } of refs) waiting.delete(`${collection}, ${ref}`);
    } catch (error) {
      if (!(error instanceof OstreeError)) throw error;
      process.stderr.write(`Failed to pull refs from ‘${remote.remote}’: ${error.message}\n`);
    }
  }
  if (waiting.size === 0) return;
  const names = [...waiting.keys()].map((name) => `(${name})`).join(', ');
  throw new OstreeError('not-found', `Failed to pull some refs from the remotes: ${names}`);
}
