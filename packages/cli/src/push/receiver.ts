import { remoteOptions } from '@treeline/ostree/pull/remote-config.ts';
import type { PushRemoteOptions } from '@treeline/ostree/push/remote.ts';
import { readRemote } from '@treeline/ostree/repo/remotes.ts';
import type { Repo } from '@treeline/ostree/repo/repo.ts';
import { findServer, type GlobalOptions } from '../connection/server.ts';
import { CliError } from '../errors.ts';

/** Where a push goes. */
export interface Receiver {
  /** Of the receiver itself: the server's `/api/v1/push/`. */
  url: string;
  options: PushRemoteOptions;
  /** The remote's name in the repository's configuration; null where it was not found by one. */
  remote: string | null;
}

const PATH = 'api/v1/push/';

/**
 * The receiver that is meant: by URL, by the name of a remote in the repository's configuration, or the server as other
 * verbs find it.
 *
 * @throws CliError
 */
export async function findReceiver(repo: Repo, named: string | null, options: GlobalOptions): Promise<Receiver> {
  if (named !== null && !/^https?:\/\//.test(named)) return configured(repo, named, options);
  const { url, token } = findServer(named === null ? options : { ...options, server: named });
  return { url: receiverUrl(url), options: { headers: bearer(token) }, remote: null };
}

async function configured(repo: Repo, name: string, options: GlobalOptions): Promise<Receiver> {
  const { keys } = await readRemote(repo, name).catch((cause: unknown) => {
    throw new CliError('not-found', `${name} is neither a URL nor a remote of ${repo.path}.`, {
      cause,
      hint: `See: treeline repo remote list --repo ${repo.path}`,
    });
  });
  const { url, headers, tls, proxy } = await remoteOptions(repo, name, keys.get('push-url'));
  if (!/^https?:\/\//.test(url)) {
    throw new CliError('usage', `The remote ${name} is at ${url || 'no address'}, where nothing can be pushed.`, {
      hint: `Say where: treeline repo config set 'remote "${name}".push-url' https://…`,
    });
  }
  const { token } = findServer({ ...options, server: url });
  return {
    url: receiverUrl(new URL(url)),
    options: { tls, proxy, headers: { ...headers, ...bearer(token) } },
    remote: name,
  };
}

/** A remote is configured with the address that one pulls from; the receiver is that server's. */
function receiverUrl(url: URL): string {
  const own = new URL(url);
  if (own.pathname.replace(/\/?$/, '/').endsWith(`/${PATH}`)) return own.href;
  own.pathname = own.pathname.replace(/\/repos\/[^/]+\/?$/, '/').replace(/\/?$/, `/${PATH}`);
  return own.href;
}

function bearer(token: string | null): Record<string, string> {
  return token === null ? {} : { Authorization: `Bearer ${token}` };
}
