import { OstreeError } from '@treeline/ostree/errors.ts';
import { isChecksum } from '@treeline/ostree/formats/object-name.ts';
import type { PullProgress } from '@treeline/ostree/pull/progress.ts';
import { type PullOptions, pull } from '@treeline/ostree/pull/pull.ts';
import { type RemoteOptions, remoteOptions } from '@treeline/ostree/pull/remote-config.ts';
import { isRefName } from '@treeline/ostree/repo/refs.ts';
import type { Repo } from '@treeline/ostree/repo/repo.ts';
import { formatBytes } from '../../output/bytes.ts';
import { formatDuration } from '../../output/duration.ts';
import { type Parsed, UsageError } from '../options.ts';
import { formatDeltaPrediction, formatPrediction, formatPull } from '../pull-summary.ts';
import { integer, openNamedRepo, type RepoVerb, required, say } from '../verb.ts';
import { LIBOSTREE_VERSION } from '../version.ts';

export const pullVerb: RepoVerb = {
  usage: 'REMOTE [BRANCH...]',
  options: {
    'commit-metadata-only': { type: 'boolean', help: 'Fetch only the commit metadata' },
    'cache-dir': { type: 'string', argument: 'CACHE-DIR', help: 'Use custom cache dir' },
    'disable-fsync': { type: 'boolean', help: 'Do not invoke fsync()' },
    'per-object-fsync': {
      type: 'boolean',
      help: 'Perform writes in such a way that avoids stalling concurrent processes',
    },
    'disable-static-deltas': { type: 'boolean', help: 'Do not use static deltas' },
    'require-static-deltas': { type: 'boolean', help: 'Require static deltas' },
    'disable-retry-on-network-errors': {
      type: 'boolean',
      help: 'Do not retry when network issues happen, instead fail automatically',
    },
    mirror: { type: 'boolean', help: 'Write refs suitable for a mirror and fetches all refs if none provided' },
    subpath: { type: 'string', multiple: true, argument: 'SUBPATH', help: 'Only pull the provided subpath(s)' },
    untrusted: {
      type: 'boolean',
      help: 'Verify checksums of local sources (always enabled for HTTP pulls)',
    },
    'http-trusted': {
      type: 'boolean',
      help: 'Do not verify checksums of HTTP sources (mostly useful when mirroring)',
    },
    'bareuseronly-files': {
      type: 'boolean',
      help: 'Reject regular files with mode outside of 0775 (world writable, suid, etc.)',
    },
    'dry-run': { type: 'boolean', help: 'Only print information on what will be downloaded' },
    depth: { type: 'integer', argument: 'DEPTH', help: 'Traverse DEPTH parents (-1=infinite) (default: 0)' },
    url: {
      type: 'string',
      argument: 'URL',
      help: 'Pull objects from this URL instead of the one from the remote config',
    },
    'http-header': {
      type: 'string',
      multiple: true,
      argument: 'NAME=VALUE',
      help: 'Add NAME=VALUE as HTTP header to all requests',
    },
    'update-frequency': {
      type: 'integer',
      argument: 'FREQUENCY',
      help: 'Sets the update frequency, in milliseconds (0=1000ms) (default: 0)',
    },
    'network-retries': {
      type: 'integer',
      argument: 'N',
      help: 'Specifies how many times each download should be retried upon error (default: 5)',
    },
    'low-speed-limit-bytes': {
      type: 'integer',
      argument: 'N',
      help: 'A transfer slower than so many bytes a second is given up (default: 1000)',
    },
    'low-speed-time-seconds': {
      type: 'integer',
      argument: 'N',
      help: 'When it has been so slow for so long (default: 30)',
    },
    'max-outstanding-fetcher-requests': {
      type: 'integer',
      argument: 'N',
      help: 'The max amount of concurrent connections allowed. (default: 8)',
    },
    'localcache-repo': {
      type: 'string',
      short: 'L',
      multiple: true,
      argument: 'REPO',
      help: 'Add REPO as local cache source for objects during this pull',
    },
    'timestamp-check': { type: 'boolean', short: 'T', help: 'Require fetched commits to have newer timestamps' },
    'timestamp-check-from-rev': {
      type: 'string',
      argument: 'REV',
      help: 'Require fetched commits to have newer timestamps than given rev',
    },
    'disable-verify-bindings': { type: 'boolean', help: 'Do not verify commit bindings' },
    'append-user-agent': { type: 'string', hidden: true, argument: 'TEXT', help: 'Append string to user agent' },
  },
  async run(parsed, signal) {
    const { name, refs } = namedRefs(parsed);
    const repo = writableRepo(await openNamedRepo(parsed), parsed);
    const remote = await remoteOptions(repo, name, parsed.text('url'));
    const mirror = parsed.flag('mirror');
    const wanted = refs ?? (remote.branches.length > 0 ? remote.branches : null);
    if (!wanted && !mirror) throw new UsageError(`No configured branches for remote ${name}`);
    const started = Date.now();
    const dryRun = parsed.flag('dry-run');
    const stats = await pull(repo, {
      ...remote,
      ...whatToPull(wanted),
      ...networkOptions(parsed, remote),
      ...pullOptions(parsed),
      remote: name,
      mirror,
      // libostree trusts repositories on the same machine.
      trusted: !parsed.flag('untrusted') && (parsed.flag('http-trusted') || !isHttp(remote)),
      dryRun,
      signal,
      ...(process.stderr.isTTY && !dryRun ? { onProgress: progressLine(parsed) } : {}),
    });
    if (process.stderr.isTTY) process.stderr.write('\r\x1b[K');
    const { prediction } = stats;
    if (!prediction) say(formatPull(stats, Date.now() - started));
    else if (parsed.flag('require-static-deltas')) say(formatDeltaPrediction(prediction));
    else for (const line of formatPrediction(prediction)) say(line);
  },
};

/** `REMOTE [BRANCH…]`, or `REMOTE:BRANCH`. */
function namedRefs(parsed: Parsed): { name: string; refs: string[] | null } {
  const argument = required(parsed, 0, 'REMOTE must be specified');
  const colon = argument.indexOf(':');
  if (colon >= 0) return { name: argument.slice(0, colon), refs: [argument.slice(colon + 1)] };
  const refs = parsed.positionals.slice(1);
  return { name: argument, refs: refs.length > 0 ? refs : null };
}

/** Refs and commits, told apart. Throws for what is neither. */
export function whatToPull(wanted: readonly string[] | null): Pick<PullOptions, 'refs' | 'commits'> {
  if (!wanted) return {};
  const refs = wanted.filter((one) => !isChecksum(one));
  for (const one of refs) {
    const ref = one.slice(0, one.includes('@') ? one.lastIndexOf('@') : undefined);
    if (!isRefName(ref)) throw new OstreeError('invalid', `Invalid ref name ${ref}`);
  }
  return { refs, commits: wanted.filter(isChecksum) };
}

/** The repository with what the flags say of how to write to it. */
export function writableRepo(repo: Repo, parsed: Parsed): Repo {
  const config = new Map([...repo.config].map(([group, keys]) => [group, new Map(keys)]));
  if (parsed.flag('per-object-fsync')) config.get('core')?.set('per-object-fsync', 'true');
  return { ...repo, config, fsync: repo.fsync && !parsed.flag('disable-fsync') };
}

/** Options that `pull` and `pull-local` have in common. */
export function pullOptions(parsed: Parsed): Partial<PullOptions> {
  const depth = integer(parsed.text('depth'), 'depth');
  if (depth !== undefined && depth < -1) throw new UsageError(`Invalid depth ${depth}`);
  const [never, required] = [parsed.flag('disable-static-deltas'), parsed.flag('require-static-deltas')];
  if (never && required) throw new UsageError('Static deltas can be disabled or required, not both');
  const [cache, since] = [parsed.text('cache-dir'), parsed.text('timestamp-check-from-rev')];
  // What libostree's own tests set.
  const noCache = process.env.OSTREE_SKIP_CACHE !== undefined && cache === undefined;
  return {
    commitMetadataOnly: parsed.flag('commit-metadata-only'),
    verifyBindings: !parsed.flag('disable-verify-bindings'),
    bareUserOnlyFiles: parsed.flag('bareuseronly-files'),
    subpaths: parsed.list('subpath'),
    localCaches: parsed.list('localcache-repo'),
    timestampCheck: parsed.flag('timestamp-check'),
    deltas: never ? 'never' : required ? 'required' : 'auto',
    strictCache: process.env.OSTREE_REPO_TEST_ERROR === 'invalid-cache',
    ...(depth === undefined ? {} : { depth }),
    ...(since === undefined ? {} : { timestampCheckFrom: since }),
    ...(cache !== undefined ? { cacheFolder: cache } : noCache ? { cacheFolder: null } : {}),
  };
}

function networkOptions(parsed: Parsed, remote: RemoteOptions): Partial<PullOptions> {
  const number = (name: string) => integer(parsed.text(name), name);
  const retries = parsed.flag('disable-retry-on-network-errors') ? 0 : number('network-retries');
  const lowSpeedBytes = number('low-speed-limit-bytes');
  const stallSeconds = number('low-speed-time-seconds');
  const maxRequests = number('max-outstanding-fetcher-requests');
  const agent = parsed.text('append-user-agent');
  const headers: Record<string, string> = { ...remote.headers };
  for (const pair of parsed.list('http-header')) {
    const equals = pair.indexOf('=');
    if (equals < 0) throw new UsageError("Missing '=' in --http-header");
    headers[pair.slice(0, equals)] = pair.slice(equals + 1);
  }
  return {
    headers,
    ...(retries === undefined || retries < 0 ? {} : { retries }),
    ...(lowSpeedBytes === undefined || lowSpeedBytes < 0 ? {} : { lowSpeedBytes }),
    ...(stallSeconds === undefined || stallSeconds < 0 ? {} : { stallSeconds }),
    ...(maxRequests === undefined || maxRequests < 1 ? {} : { maxRequests }),
    userAgent: [`libostree/${LIBOSTREE_VERSION}`, ...(agent === undefined ? [] : [agent])].join(' '),
  };
}

function isHttp({ url, metalink }: RemoteOptions): boolean {
  return metalink !== undefined || !(url.startsWith('file:') || url.startsWith('/') || !url.includes('://'));
}

function progressLine(parsed: Parsed): (progress: PullProgress) => void {
  const every = integer(parsed.text('update-frequency'), 'update-frequency') ?? 0;
  let shown = 0;
  return ({ objects, objectsKnown, bytes, bytesExpected, rate, secondsLeft }) => {
    const now = Date.now();
    if (now - shown < every) return;
    shown = now;
    const counts = `Receiving objects: ${objects}/${objectsKnown}`;
    const of = bytesExpected === null ? '' : ` of ${formatBytes(bytesExpected)}`;
    const left = secondsLeft === null ? '' : `  ${formatDuration(secondsLeft * 1000)} left`;
    process.stderr.write(`\r\x1b[K${counts}  ${formatBytes(bytes)}${of}  ${formatBytes(rate)}/s${left}`);
  };
}
