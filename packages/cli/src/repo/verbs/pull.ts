import { readFile } from 'node:fs/promises';
import { isChecksum, OstreeError, type PullOptions, pull } from '@treeline/ostree';
import { formatBytes } from '../../output/bytes.ts';
import { UsageError } from '../options.ts';
import { formatPull } from '../pull-summary.ts';
import { integer, keyValue, openNamedRepo, type RepoVerb, required, say } from '../verb.ts';

export const pullVerb: RepoVerb = {
  usage: 'REMOTE [BRANCH…]',
  options: {
    'commit-metadata-only': { type: 'boolean', help: 'Fetch only the commit metadata' },
    'disable-fsync': { type: 'boolean', help: 'Do not invoke fsync()' },
    mirror: { type: 'boolean', help: 'Write refs suitable for a mirror and fetches all refs if none provided' },
    depth: { type: 'string', argument: 'DEPTH', help: 'Traverse DEPTH parents (-1=infinite) (default: 0)' },
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
    'network-retries': {
      type: 'string',
      argument: 'N',
      help: 'How often each download is tried again upon failure (default: 5)',
    },
    untrusted: { type: 'boolean', help: 'Verify checksums of local sources (always enabled)' },
    'disable-verify-bindings': { type: 'boolean', help: 'Do not verify commit bindings' },
    'disable-static-deltas': { type: 'boolean', help: 'Do not use static deltas' },
  },
  async run(parsed, signal) {
    const argument = required(parsed, 0, 'REMOTE must be specified');
    const [name, ref] = argument.includes(':') ? splitOnce(argument) : [argument, undefined];
    const opened = await openNamedRepo(parsed);
    const repo = parsed.flag('disable-fsync') ? { ...opened, fsync: false } : opened;
    const remote = repo.config.get(`remote "${name}"`);
    if (!remote) throw new OstreeError('not-found', `Remote "${name}" not found`);
    refuseUnverified(name, remote);
    const url = parsed.text('url') ?? remote.get('url');
    if (!url) throw new UsageError(`Remote "${name}" has no url`);
    const configured = (remote.get('branches') ?? '').split(';').filter(Boolean);
    const asked = [...(ref ? [ref] : []), ...parsed.positionals.slice(1)];
    const wanted = asked.length > 0 ? asked : configured;
    const mirror = parsed.flag('mirror');
    if (wanted.length === 0 && !mirror) throw new UsageError(`No configured branches for remote ${name}`);
    const depth = integer(parsed.text('depth'), 'depth');
    const retries = integer(parsed.text('network-retries'), 'network-retries');
    const tls = await tlsOf(remote);
    const started = Date.now();
    const stats = await pull(repo, {
      url,
      // Without either, everything.
      ...(wanted.length > 0
        ? { refs: wanted.filter((one) => !isChecksum(one)), commits: wanted.filter(isChecksum) }
        : {}),
      commitMetadataOnly: parsed.flag('commit-metadata-only'),
      verifyBindings: !parsed.flag('disable-verify-bindings'),
      headers: Object.fromEntries(parsed.list('http-header').map((pair) => keyValue(pair, '--http-header'))),
      signal,
      ...(mirror ? {} : { remote: name }),
      ...(depth === undefined ? {} : { depth }),
      ...(retries === undefined ? {} : { retries }),
      ...(tls ? { tls } : {}),
      ...(process.stderr.isTTY ? { onProgress: showProgress } : {}),
    });
    if (process.stderr.isTTY) process.stderr.write('\r\x1b[K');
    say(formatPull(stats, Date.now() - started));
  },
};

function splitOnce(text: string): [string, string] {
  const colon = text.indexOf(':');
  return [text.slice(0, colon), text.slice(colon + 1)];
}

/** A remote that asks for signatures must not be pulled from as if it had not. libostree's default is gpg-verify. */
function refuseUnverified(name: string, remote: Map<string, string>): void {
  for (const key of ['gpg-verify', 'gpg-verify-summary', 'sign-verify', 'sign-verify-summary']) {
    const value = remote.get(key) ?? (key === 'gpg-verify' ? 'true' : 'false');
    if (value === 'false' || value === '0') continue;
    throw new OstreeError(
      'unsupported',
      `Remote "${name}" wants its signatures verified (${key}), which is not supported yet`,
      {
        hint: `If you trust the connection, say so: treeline repo config set 'remote "${name}".${key}' false`,
      },
    );
  }
}

async function tlsOf(remote: Map<string, string>): Promise<PullOptions['tls'] | undefined> {
  const [cert, key, ca] = ['tls-client-cert-path', 'tls-client-key-path', 'tls-ca-path'].map((name) =>
    remote.get(name),
  );
  if (remote.get('tls-permissive') === 'true') {
    throw new OstreeError('unsupported', 'tls-permissive turns off what TLS is for', {
      hint: 'Name the CA instead: tls-ca-path.',
    });
  }
  if (!cert && !key && !ca) return undefined;
  return {
    ...(cert ? { cert: await readFile(cert) } : {}),
    ...(key ? { key: await readFile(key) } : {}),
    ...(ca ? { ca: await readFile(ca) } : {}),
  };
}

function showProgress(progress: { objects: number; objectsKnown: number; bytes: number; rate: number }): void {
  const { objects, objectsKnown, bytes, rate } = progress;
  process.stderr.write(
    `\r\x1b[KReceiving objects: ${objects}/${objectsKnown}  ${formatBytes(bytes)}  ${formatBytes(rate)}/s`,
  );
}
