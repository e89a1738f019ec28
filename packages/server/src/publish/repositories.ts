import { existsSync } from 'node:fs';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { join } from 'node:path';
import { type RepositoryHandler, repositoryHandler } from '@treeline/ostree';
import type { Authenticator } from '../access/authenticator.ts';
import { refusalHeaders } from '../access/refusal-headers.ts';
import { ServerError } from '../errors.ts';

const PREFIX = '/repos/';
/** No file of a repository. */
const ACCESS = '/.access';

export interface RepositoriesDeps {
  /** Folder of the published repositories. */
  dir: string;
  /** Who may read a repository; null when there is none of this name. */
  accessOf(name: string): 'public' | 'private' | null;
  authenticator: Authenticator;
}

/**
 * Serves the published repositories below /repos/<name>/. Ahead of the API's framework: OSTree clients ask for
 * thousands of small files.
 *
 * A private one is for callers that may `read` it: by a token as bearer or as the password of basic auth, or by client
 * certificate. Nobody else learns which repositories there are: what is not public is refused alike.
 *
 * @returns a handler that says whether the request was its own; the answer is then on its way.
 */
export function publishedRepositories(deps: RepositoriesDeps): (req: IncomingMessage, res: ServerResponse) => boolean {
  const handlers = new Map<string, RepositoryHandler>();
  return (req, res) => {
    const path = (req.url ?? '/').split('?', 1)[0]!;
    if (!path.startsWith(PREFIX)) return false;
    const [, name, rest] = /^\/repos\/([A-Za-z0-9][A-Za-z0-9._-]{0,62})(\/.*)$/.exec(path) ?? [];
    if (name === undefined || rest === undefined) return refuse(res, NOT_FOUND);
    const access = deps.accessOf(name);
    if (access !== 'public') {
      const refusal = refusalOf(deps.authenticator, req, name);
      if (refusal !== null) return refuse(res, refusal);
    }
    if (rest === ACCESS) return answerAccess(res, access ?? 'private');
    if (access === null || !existsSync(join(deps.dir, name, 'config'))) return refuse(res, NOT_FOUND);
    // What a cache may keep depends on who may read it.
    const key = `${access} ${name}`;
    let handler = handlers.get(key);
    if (!handler) {
      handler = repositoryHandler(join(deps.dir, name), { private: access !== 'public' });
      handlers.set(key, handler);
    }
    handler(req, res, rest).catch(() => res.destroy());
    return true;
  };
}

/**
 * For a web server in front that has the files itself (nginx's auth_request): 204 when who asks may read the repository.
 * Whether anybody may, it may remember for a moment; and in which caches the files may be kept it is told, too.
 */
function answerAccess(res: ServerResponse, access: 'public' | 'private'): true {
  res.writeHead(204, {
    'x-treeline-cache': access,
    'cache-control': access === 'public' ? 'max-age=10' : 'no-store',
  });
  res.end();
  return true;
}

interface Refusal {
  status: number;
  text: string;
  headers?: Record<string, string>;
}

const NOT_FOUND: Refusal = { status: 404, text: 'There is no such repository.' };

/** Why a request may not read a repository that is not public; null when it may. */
function refusalOf(authenticator: Authenticator, req: IncomingMessage, name: string): Refusal | null {
  try {
    const caller = authenticator.authenticate(req, { basic: true });
    if (caller.may('read', name)) return null;
    // Logging in again as the same would not help, so no challenge.
    return { status: 403, text: `${caller.name} may not read ${name}, if there is such a repository.` };
  } catch (error) {
    if (!(error instanceof ServerError)) throw error;
    return { status: error.status, text: sentence(error.message), headers: refusalHeaders(error, { basic: true }) };
  }
}

function sentence(message: string): string {
  return `${message.charAt(0).toUpperCase()}${message.slice(1)}.`;
}

function refuse(res: ServerResponse, { status, text, headers = {} }: Refusal): true {
  const body = `${text}\n`;
  res.writeHead(status, {
    'content-type': 'text/plain; charset=utf-8',
    'content-length': Buffer.byteLength(body),
    'cache-control': 'no-store',
    ...headers,
  });
  res.end(res.req.method === 'HEAD' ? undefined : body);
  return true;
}
