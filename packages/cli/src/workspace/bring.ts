import { existsSync, lstatSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { getCACertificates } from 'node:tls';
import type { PullProgress, Repo, TlsOptions } from '@treeline/ostree';
import { dataFolder } from '../connection/folder.ts';
import { type Connection, findServer, type GlobalOptions } from '../connection/server.ts';
import { CliError } from '../errors.ts';
import { shortId } from '../output/words.ts';

export interface BringOptions {
  options: GlobalOptions;
  /** Addresses of repositories to look in last: where a device was pointed, say. */
  alsoAt?: readonly string[];
  /** Ref to set to the commit as it comes. */
  ref?: string;
  signal: AbortSignal;
  onProgress?: (progress: PullProgress) => void;
}

/**
 * Brings a commit with all that it needs into the developer's repository: from the store or a published repository in the
 * data folder on this machine, by hard links where the file system is the same; else from the server, by HTTP. What is
 * here already is left alone.
 *
 * @throws CliError `not-found`
 */
export async function bring(repo: Repo, commit: string, o: BringOptions): Promise<void> {
  const { setRef } = await import('@treeline/ostree');
  if (isWhole(repo, commit)) {
    if (o.ref) await setRef(repo, o.ref, commit);
    return;
  }
  if (await fromThisMachine(repo, commit, o)) return;
  const failures: unknown[] = [];
  for (const source of remoteSources(o)) {
    try {
      await fromServer(repo, commit, source, o);
      return;
    } catch (error) {
      o.signal.throwIfAborted();
      failures.push(error);
    }
  }
  throw notFound(commit, failures);
}

/** A commit that is there is whole, unless it is marked as partial. */
function isWhole(repo: Repo, commit: string): boolean {
  const object = join(repo.path, 'objects', commit.slice(0, 2), `${commit.slice(2)}.commit`);
  return existsSync(object) && !existsSync(join(repo.path, 'state', `${commit}.commitpartial`));
}

async function fromThisMachine(repo: Repo, commit: string, o: BringOptions): Promise<boolean> {
  const { copyClosure, openRepo } = await import('@treeline/ostree');
  for (const path of repositoriesHere(o.options)) {
    const source = await openRepo(path).catch(() => null);
    if (!source || !isWhole(source, commit)) continue;
    await copyClosure(source, repo, [commit], {
      // Only if it was written by the same user; of another one's each object is hashed.
      trusted: ownedByCaller(source),
      ...(o.ref ? { refs: new Map([[o.ref, commit]]) } : {}),
      signal: o.signal,
      ...(o.onProgress ? { onProgress: o.onProgress } : {}),
    });
    return true;
  }
  return false;
}

/** The store of the data folder and its published repositories, unless another server was named. */
function repositoriesHere(options: GlobalOptions): string[] {
  const connection = tryServer(options);
  if (connection && connection.folder === null) return [];
  const data = connection?.folder ?? dataFolder(options.data);
  const repos = join(data, 'repos');
  let names: string[] = [];
  try {
    names = readdirSync(repos);
  } catch {
    // There is none, or it is another user's.
  }
  return [join(data, 'store'), ...names.map((name) => join(repos, name))];
}

type Source = { url: string; headers: Record<string, string>; tls?: TlsOptions };

/** Where the commit may be had by HTTP: the server's store, the repositories that it publishes, then anywhere else. */
function remoteSources(o: BringOptions): Source[] {
  const connection = tryServer(o.options);
  const sources: Source[] = [];
  if (connection) {
    const headers: Record<string, string> = connection.token ? { Authorization: `Bearer ${connection.token}` } : {};
    const url = new URL('api/v1/store', connection.url).href;
    sources.push({ url, headers, tls: tlsOf(connection, o.options) });
  }
  return [...sources, ...(o.alsoAt ?? []).map((url) => ({ url, headers: {} }))];
}

/** Authorities that were named are trusted beside the others. */
function tlsOf(connection: Connection, options: GlobalOptions): TlsOptions {
  const named = options.ca ?? process.env.TREELINE_CA;
  return { ...connection.certificate, ...(named ? { ca: getCACertificates('default').join('\n') } : {}) };
}

async function fromServer(repo: Repo, commit: string, source: Source, o: BringOptions): Promise<void> {
  const { pull, setRef } = await import('@treeline/ostree');
  await pull(repo, {
    ...source,
    commits: [commit],
    retries: 1,
    signal: o.signal,
    ...(o.onProgress ? { onProgress: o.onProgress } : {}),
  });
  if (o.ref) await setRef(repo, o.ref, commit);
}

/** The server of the options; null when none is running here and none was named. */
function tryServer(options: GlobalOptions): Connection | null {
  try {
    return findServer(options);
  } catch (error) {
    if (error instanceof CliError && error.code === 'unreachable') return null;
    throw error;
  }
}

function notFound(commit: string, failures: unknown[]): CliError {
  const reasons = failures.flatMap((failure) => (failure instanceof Error ? [failure.message] : []));
  return new CliError('not-found', `Commit ${shortId(commit)} can be had neither here nor from the server.`, {
    cause: failures[0],
    hint: [...reasons, 'To read the store of a server takes a token that allows it: --token, or TREELINE_TOKEN.'].join(
      '\n',
    ),
  });
}

function ownedByCaller(repo: Repo): boolean {
  return lstatSync(join(repo.path, 'objects')).uid === process.geteuid?.();
}
