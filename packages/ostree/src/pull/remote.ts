import { open } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { OstreeError, systemCode } from '../errors.ts';
import { parseKeyFile } from '../formats/keyfile.ts';
import { ownCollection } from '../repo/collection-refs.ts';
import { openRepo, type Repo } from '../repo/repo.ts';
import { repoSettings } from '../repo/settings.ts';
import { ACCESS_HINT, type HttpOptions, type HttpSource } from './http.ts';
import { type HttpPlaces, isHttpAddress, openHttpSource } from './open-source.ts';

/** A repository that is pulled from: over HTTP, or on this machine. */
export interface Remote {
  /** How errors name it; a path below the repository can follow. */
  readonly where: string;
  /** Where it is reached by HTTP … */
  readonly source: HttpSource | null;
  /** … and where it is on this machine. One of the two. */
  readonly repo: Repo | null;
  /** There is a config; static hosting of objects and refs alone is enough to pull from. */
  readonly hasConfig: boolean;
  /** Deleted commits leave tombstones. */
  readonly tombstoneCommits: boolean;
  /** Static deltas are listed in indexes of their own. */
  readonly indexedDeltas: boolean;
  /** The collection that its own refs belong to, as far as its config says; over HTTP only a summary does. */
  readonly collection: string | null;
  /** A small file of the repository, or null when there is none. Throws `corrupt` beyond `limit` bytes. */
  file(path: string, limit: number): Promise<Buffer | null>;
  /** What the server said ("403 Forbidden") of a file that `file` then said is not there. */
  forbidden(path: string): string | undefined;
  close(): void;
}

/** A config is a few lines. */
const MAX_CONFIG_BYTES = 1024 * 1024;

/** Whether this is the address of a repository on this machine, rather than of one that is reached over the network. */
export function isLocalAddress(url: string): boolean {
  return url.startsWith('file://') || !/^(mirrorlist=|[a-z][a-z0-9+.-]*:\/\/)/i.test(url);
}

/**
 * Opens what is pulled from, and checks that it is a repository that can be.
 *
 * @throws OstreeError `unsupported` for a repository of another mode than archive over HTTP, or another scheme;
 *   `network` for something that is no repository; `not-found` for a path where none is
 */
export async function openRemote(url: string, options: HttpOptions & HttpPlaces): Promise<Remote> {
  if (options.metalink === undefined && isLocalAddress(url))
    return openLocal(url.startsWith('file://') ? fileURLToPath(url) : url);
  if (options.metalink === undefined && !isHttpAddress(url)) {
    throw new OstreeError(
      'unsupported',
      `Invalid URI scheme in ${url}: can only pull from http, https and local paths`,
    );
  }
  const source = await openHttpSource(url, options);
  try {
    return await openHttp(source);
  } catch (error) {
    source.close();
    throw error;
  }
}

async function openHttp(source: HttpSource): Promise<Remote> {
  const core = await readConfig(source);
  const mode = core?.get('mode');
  if (mode !== undefined && mode !== 'archive' && mode !== 'archive-z2') {
    throw new OstreeError(
      'unsupported',
      `${source.base}: Can't pull from archives with mode "${mode}"; only archive ones are served over HTTP`,
    );
  }
  return {
    where: `${source.base}`,
    source,
    repo: null,
    hasConfig: core !== null,
    tombstoneCommits: core?.get('tombstone-commits') === 'true',
    indexedDeltas: core?.get('indexed-deltas') === 'true',
    collection: null,
    file: (path, limit) => source.bytes(path, limit),
    forbidden: (path) => source.forbidden(path),
    close: () => source.close(),
  };
}

async function readConfig(source: HttpSource): Promise<ReadonlyMap<string, string> | null> {
  const text = await source.bytes('config', MAX_CONFIG_BYTES);
  if (!text) return null;
  try {
    return parseKeyFile(text.toString('utf8'), `${source.base}config`).get('core') ?? new Map();
  } catch (cause) {
    throw notARepository(`${source.base}`, 'its config is not a key file', cause);
  }
}

async function openLocal(path: string): Promise<Remote> {
  return localRemote(await openRepo(path));
}

/** A repository of this machine as one to pull from. */
export function localRemote(repo: Repo): Remote {
  const settings = repoSettings(repo.config);
  return {
    where: repo.path.endsWith('/') ? repo.path : `${repo.path}/`,
    source: null,
    repo,
    hasConfig: true,
    tombstoneCommits: settings.tombstoneCommits,
    indexedDeltas: true,
    collection: ownCollection(repo),
    file: (name, limit) => readLocal(join(repo.path, name), limit),
    forbidden: () => undefined,
    close: () => {},
  };
}

async function readLocal(path: string, limit: number): Promise<Buffer | null> {
  try {
    const handle = await open(path);
    try {
      const { size } = await handle.stat();
      if (size <= limit) return await handle.readFile();
      throw new OstreeError('corrupt', `${path} exceeded maximum size of ${limit} bytes: ${size}`, { offset: limit });
    } finally {
      await handle.close();
    }
  } catch (error) {
    const code = systemCode(error);
    if (code === 'ENOENT' || code === 'ENOTDIR' || code === 'EISDIR') return null;
    throw error;
  }
}

/** Throws when the server would not give one of these files. */
export function refuseForbidden(remote: Remote, paths: readonly string[]): void {
  for (const path of paths) {
    const forbidden = remote.forbidden(path);
    if (forbidden === undefined) continue;
    throw new OstreeError('network', `${remote.where}${path}: the server answered ${forbidden}`, { hint: ACCESS_HINT });
  }
}

/** The error for an address at which nothing is that a repository has. */
export function noRepository(remote: Remote, without: string): OstreeError {
  return new OstreeError(
    'not-found',
    `${remote.where}: there is no OSTree repository at this URL: the server answered 404 (${without})`,
    { hint: 'Check the address: it is that of the folder in which config, objects and refs are.' },
  );
}

/** The error for an answer that no repository would give. */
export function notARepository(where: string, why: string, cause?: unknown): OstreeError {
  return new OstreeError('network', `${where}: does not answer as an OSTree repository: ${why}`, {
    hint: 'Check the address; a web server may be answering with a page of its own.',
    cause,
  });
}
