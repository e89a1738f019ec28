import type { IncomingMessage, ServerResponse } from 'node:http';
import { repositoryHandler } from '@treeline/ostree';
import type { Authenticator } from '../access/authenticator.ts';
import { demand } from '../access/caller.ts';
import type { Core } from '../core.ts';
import { answerOf } from '../push/answers.ts';

const PREFIX = '/api/v1/store/';

/**
 * Serves the private store to whoever may read all of it, below /api/v1/store/: how a developer's machine gets the commit
 * of an artifact that nobody published. Ahead of the API's framework, as published repositories are.
 *
 * @returns a handler that says whether the request was its own; the answer is then on its way.
 */
export function storeMount(deps: {
  core: Pick<Core, 'store' | 'log'>;
  authenticator: Authenticator;
}): (req: IncomingMessage, res: ServerResponse) => boolean {
  const handle = repositoryHandler(deps.core.store.path, { private: true });
  const answer = async (req: IncomingMessage, res: ServerResponse, path: string): Promise<void> => {
    try {
      demand(deps.authenticator.authenticate(req, { basic: true }), 'read');
    } catch (error) {
      const { status, headers: more, ...body } = answerOf(error, deps.core.log);
      const headers = { 'content-type': 'application/json', 'cache-control': 'no-store', ...more };
      // What is left of a body that nobody reads must not be taken for the next request.
      res.writeHead(status, req.complete ? headers : { ...headers, connection: 'close' });
      res.end(req.method === 'HEAD' ? undefined : JSON.stringify(body));
      return;
    }
    await handle(req, res, path);
  };
  return (req, res) => {
    const path = (req.url ?? '/').split('?', 1)[0]!;
    // What changes something is the API's.
    if (!path.startsWith(PREFIX) || (req.method !== 'GET' && req.method !== 'HEAD')) return false;
    answer(req, res, path.slice(PREFIX.length)).catch(() => res.destroy());
    return true;
  };
}
