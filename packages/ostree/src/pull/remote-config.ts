import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { OstreeError, systemCode } from '../errors.ts';
import { unescapeKeyFileString } from '../formats/keyfile.ts';
import { readCookies } from '../http/cookies.ts';
import type { TlsOptions } from '../http/dial.ts';
import { proxyFor } from '../http/proxy.ts';
import { readRemote } from '../repo/remotes.ts';
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
  const section = new Section(name, (await readRemote(repo, name)).keys);
  const unconfigured = section.text('unconfigured-state');
  if (unconfigured) throw new OstreeError('invalid', `remote unconfigured-state: ${unconfigured}`);
  section.flag('http2', true); // nonsense is to be found out
  const metalink = section.text('metalink');
  const url = override ?? section.text('url');
  const noUrl = url === undefined && metalink === undefined ? `No "url" option in remote "${name}"` : null;
  const backend = section.text('custom-backend');
  if (backend) {
    const uses = `Cannot fetch via libostree - remote '${name}' uses custom backend '${backend}'`;
    throw new OstreeError('unsupported', noUrl === null ? uses : `${uses}: ${noUrl}`, {
      hint: 'What that backend is knows how to fetch from this remote.',
    });
  }
  if (noUrl !== null) {
    throw new OstreeError('invalid', noUrl, {
      hint: `Set it: treeline repo config set 'remote "${name}".url' https://…`,
    });
  }
  const contentUrl = metalink === undefined && override !== undefined ? undefined : section.text('contenturl');
  const proxy = section.text('proxy') || undefined;
  // A proxy that cannot be is an error now, not after the first request.
  if (proxy !== undefined) proxyFor(new URL('http://proxy.invalid'), proxy, {});
  const headers = headersOf(section);
  return {
    url: url ?? '',
    ...(contentUrl ? { contentUrl } : {}),
    ...(metalink === undefined ? {} : { metalink }),
    branches: section.list('branches'),
    collectionId: section.text('collection-id') || null,
    ...(proxy === undefined ? {} : { proxy }),
    tls: await tlsOf(section, repo),
    ...(headers ? { headers } : {}),
    cookies: await readCookies(cookiesPath(repo, name)),
  };
}

/** Where the cookies of a remote are. */
export function cookiesPath(repo: Repo, remote: string): string {
  return join(repo.path, `${remote}.cookies.txt`);
}

async function tlsOf(section: Section, repo: Repo): Promise<TlsOptions> {
  const permissive = section.flag('tls-permissive', false);
  const [cert, key] = [section.text('tls-client-cert-path'), section.text('tls-client-key-path')];
  if ((cert === undefined) !== (key === undefined)) {
    throw new OstreeError(
      'invalid',
      `Remote "${section.name}" must specify both "tls-client-cert-path" and "tls-client-key-path"`,
    );
  }
  const ca = section.text('tls-ca-path');
  const read = (path: string, key: string) => readNamed(path, `Remote "${section.name}": ${key}`, repo);
  return {
    ...(cert === undefined ? {} : { cert: await read(cert, 'tls-client-cert-path') }),
    ...(key === undefined ? {} : { key: await read(key, 'tls-client-key-path') }),
    ...(ca === undefined ? {} : { ca: await read(ca, 'tls-ca-path') }),
    ...(permissive ? { permissive } : {}),
  };
}

async function readNamed(path: string, where: string, repo: Repo): Promise<Buffer> {
  if (path.startsWith('pkcs11:')) throw new OstreeError('unsupported', `${where}: keys in hardware are not supported`);
  try {
    return await readFile(path);
  } catch (cause) {
    const code = systemCode(cause);
    const kind = code === 'ENOENT' || code === 'ENOTDIR' ? 'not-found' : 'io';
    throw new OstreeError(kind, `${where}: cannot read ${path}: ${code}`, {
      cause,
      hint: `See the configuration of ${repo.path}.`,
    });
  }
}

/** A remote's section of a key file. */
class Section {
  readonly name: string;
  readonly #keys: ReadonlyMap<string, string>;

  constructor(name: string, keys: ReadonlyMap<string, string>) {
    this.name = name;
    this.#keys = keys;
  }

  text(key: string): string | undefined {
    const value = this.#keys.get(key);
    return value === undefined ? undefined : unescapeKeyFileString(value);
  }

  flag(key: string, ifNone: boolean): boolean {
    const value = this.#keys.get(key);
    if (value === undefined) return ifNone;
    if (value === 'true' || value === '1') return true;
    if (value === 'false' || value === '0') return false;
    throw new OstreeError(
      'invalid',
      `Remote "${this.name}": ${key} is ${JSON.stringify(value)}, neither true nor false`,
    );
  }

  /** Each item ends with a semicolon, and may have one with a backslash before it. */
  list(key: string): string[] {
    const items = (this.#keys.get(key) ?? '').match(/(?:\\.|[^;\\])+/g) ?? [];
    return items.map((item) => item.replace(/\\(.)/g, '$1').trim()).filter((item) => item !== '');
  }
}

function headersOf(section: Section): Record<string, string> | null {
  const pairs = section.list('http-headers');
  if (pairs.length === 0) return null;
  const headers: Record<string, string> = {};
  for (const pair of pairs) {
    const equals = pair.indexOf('=');
    if (equals < 1) {
      throw new OstreeError('invalid', `Remote "${section.name}": http-headers: missing '=' in "${pair}"`);
    }
    headers[pair.slice(0, equals).trim()] = pair.slice(equals + 1).trim();
  }
  return headers;
}
