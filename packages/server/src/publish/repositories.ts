import { existsSync } from 'node:fs';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { join } from 'node:path';
import { type RepositoryHandler, repositoryHandler } from '@treeline/ostree';

const PREFIX = '/repos/';

export interface RepositoriesDeps {
  /** Folder of the published repositories. */
  dir: string;
  /** Who may read a repository; null when there is none of this name. */
  accessOf(name: string): 'public' | 'private' | null;
  /** Whether the value of an Authorization header lets its sender read the others. */
  allows(authorization: string | undefined): boolean;
}

/**
 * Serves the published repositories below /repos/<name>/. Ahead of the API's framework: OSTree clients ask for
 * thousands of small files.
 *
 * @returns a handler that says whether the request was its own; the answer is then on its way.
 */
export function publishedRepositories(deps: RepositoriesDeps): (req: IncomingMessage, res: ServerResponse) => boolean {
  const handlers = new Map<string, RepositoryHandler>();
  return (req, res) => {
    const path = (req.url ?? '/').split('?', 1)[0]!;
    if (!path.startsWith(PREFIX)) return false;
    const match = /^\/repos\/([A-Za-z0-9][A-Za-z0-9._-]{0,62})(\/.*)$/.exec(path);
    // Whether a repository exists is not told to those who may not read it.
    const [, name = '', rest = ''] = match ?? [];
    const access = deps.accessOf(name);
    const readable = access === 'public' || (access === 'private' && deps.allows(req.headers.authorization));
    if (!readable || !existsSync(join(deps.dir, name, 'config'))) {
      res.writeHead(404, { 'content-type': 'text/plain; charset=utf-8', 'cache-control': 'no-store' });
      res.end('There is no such repository.\n');
      return true;
    }
    let handler = handlers.get(name);
    if (!handler) {
      handler = repositoryHandler(join(deps.dir, name));
      handlers.set(name, handler);
    }
    handler(req, res, rest).catch(() => res.destroy());
    return true;
  };
}
