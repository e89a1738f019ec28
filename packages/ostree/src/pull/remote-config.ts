import { readFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { OstreeError, systemCode } from '../errors.ts';
import { readCookies } from '../http/cookies.ts';
import type { TlsOptions } from '../http/dial.ts';
import { proxyFor } from '../http/proxy.ts';
import { type RemoteConfig, readRemote } from '../repo/remotes.ts';
import type { Repo } from '../repo/repo.ts';
import type { HttpOptions } from './http.ts';
import type { HttpPlaces } from './open-source.ts';

/** What a repository's configuration says of how to pull from a remote; to be spread into PullOptions. */
export interface RemoteOptions extends HttpPlaces, Pick<HttpOptions, 'tls' | 'headers' | 'proxy' | 'cookies'> {
  /** `http(s)://…`, `mirrorlist=URL`, `file://…` or a path. Empty where a metalink says where to go. */
  url: string;
  /** What to pull when nothing is named. */
  branches: string[];
  /** The collection that the remote's refs belong to. */
  collectionId: string | null;
}

/**
 * Reads a remote's section of the configuration, as libostree does: `url`, `contenturl`, `metalink`, `branches`,
 * `collection-id`, `proxy`, `tls-client-cert-path`, `tls-client-key-path`, `tls-ca-path`, `tls-permissive`, and the
 * cookies beside the repository's config (`<remote>.cookies.txt`). `http-headers` (`NAME=VALUE;…`) is this library's
 * own. `http2` may be there; only HTTP/1.1 is spoken. Signatures are the business of remoteVerification.
 *
 * @param override an address to use instead of the configured ones (but not of a metalink, as in libostree)
 * @throws OstreeError `not-found` for an unknown remote or a missing file, `invalid` for what makes no sense, and for
 *   a remote that is marked as not to be pulled from (`unconfigured-state`, `custom-backend`); `unsupported` for keys
 *   in hardware
 */
export async function remoteOptions(repo: Repo, name: string, override?: string): Promise<RemoteOptions> {
  const remote = await readRemote(repo, name);
  const { keys } = remote;
  const unconfigured = keys.get('unconfigured-state');
  if (unconfigured) throw new OstreeError('invalid', `remote unconfigured-state: ${unconfigured}`);
  const backend = keys.get('custom-backend');
  if (backend) {
    throw new OstreeError(
      'unsupported',
      `Cannot fetch via libostree - remote '${name}' uses custom backend '${backend}'`,
      { hint: 'What that backend is knows how to fetch from this remote.' },
    );
  }
  flag(remote, 'http2', true);
  const metalink = keys.get('metalink');
  const url = override ?? keys.get('url');
  if (url === undefined && metalink === undefined) {
    throw new OstreeError('invalid', `No "url" option in remote "${name}"`, {
      hint: `Set it: treeline repo config set 'remote "${name}".url' https://…`,
    });
  }
  const contentUrl = metalink === undefined && override !== undefined ? undefined : keys.get('contenturl');
  const proxy = keys.get('proxy') || undefined;
  // A proxy that cannot be is an error now, not after the first request.
  if (proxy !== undefined) proxyFor(new URL('http://proxy.invalid'), proxy, {});
  const headers = headersOf(remote);
  return {
    url: url ?? '',
    ...(contentUrl ? { contentUrl } : {}),
    ...(metalink === undefined ? {} : { metalink }),
    branches: listOf(keys.get('branches')),
    collectionId: keys.get('collection-id') || null,
    ...(proxy === undefined ? {} : { proxy }),
    tls: await tlsOf(remote, repo),
    ...(headers ? { headers } : {}),
    cookies: await readCookies(cookiesPath(repo, name)),
  };
}

/** Where the cookies of a remote are. */
export function cookiesPath(repo: Repo, remote: string): string {
  return join(repo.path, `${remote}.cookies.txt`);
}

async function tlsOf(remote: RemoteConfig, repo: Repo): Promise<TlsOptions> {
  const permissive = flag(remote, 'tls-permissive', false);
  const [cert, key] = [remote.keys.get('tls-client-cert-path'), remote.keys.get('tls-client-key-path')];
  if ((cert === undefined) !== (key === undefined)) {
    throw new OstreeError(
      'invalid',
      `Remote "${remote.name}" must specify both "tls-client-cert-path" and "tls-client-key-path"`,
    );
  }
  const read = (name: string) => readNamed(remote, name, repo);
  return {
    ...(cert === undefined ? {} : { cert: await read('tls-client-cert-path') }),
    ...(key === undefined ? {} : { key: await read('tls-client-key-path') }),
    ...(remote.keys.has('tls-ca-path') ? { ca: await read('tls-ca-path') } : {}),
    ...(permissive ? { permissive } : {}),
  };
}

async function readNamed(remote: RemoteConfig, name: string, repo: Repo): Promise<Buffer> {
  const path = remote.keys.get(name)!;
  if (path.startsWith('pkcs11:')) {
    throw new OstreeError('unsupported', `Remote "${remote.name}": ${name}: keys in hardware are not supported`);
  }
  try {
    return await readFile(resolve(path));
  } catch (cause) {
    const code = systemCode(cause);
    throw new OstreeError(
      code === 'ENOENT' ? 'not-found' : 'io',
      `Remote "${remote.name}": ${name}: cannot read ${path}: ${code}`,
      { cause, hint: `It is named in ${join(repo.path, 'config')}.` },
    );
  }
}

function flag({ name, keys }: RemoteConfig, key: string, ifNone: boolean): boolean {
  const value = keys.get(key);
  if (value === undefined) return ifNone;
  if (value === 'true' || value === '1') return true;
  if (value === 'false' || value === '0') return false;
  throw new OstreeError('invalid', `Remote "${name}": ${key} is ${JSON.stringify(value)}, neither true nor false`);
}

/** The items of a key file's list: each ends with a semicolon, and may have one with a backslash before it. */
function listOf(value: string | undefined): string[] {
  const items = (value ?? '').match(/(?:\\.|[^;\\])+/g) ?? [];
  return items.map((item) => item.replace(/\\(.)/g, '$1').trim()).filter((item) => item !== '');
}

function headersOf({ name, keys }: RemoteConfig): Record<string, string> | null {
  const pairs = listOf(keys.get('http-headers'));
  if (pairs.length === 0) return null;
  const headers: Record<string, string> = {};
  for (const pair of pairs) {
    const equals = pair.indexOf('=');
    if (equals < 1) throw new OstreeError('invalid', `Remote "${name}": http-headers: missing '=' in "${pair}"`);
    headers[pair.slice(0, equals).trim()] = pair.slice(equals + 1).trim();
  }
  return headers;
}
