import { once } from 'node:events';
import { serveRepository } from '@treeline/ostree/serve/server.ts';
import { integer, type RepoVerb, repoPathOf, say } from '../verb.ts';

/** Not one of ostree's: what `ostree trivial-httpd` is for, safe to leave on. */
export const serve: RepoVerb = {
  usage: '',
  options: {
    port: { type: 'string', short: 'p', argument: 'PORT', help: 'Port to listen on (default: any free one)' },
    host: { type: 'string', argument: 'ADDRESS', help: 'Address to listen on (default: 127.0.0.1)' },
  },
  async run(parsed, signal) {
    const port = integer(parsed.text('port'), 'port');
    const host = parsed.text('host');
    const server = await serveRepository(repoPathOf(parsed), {
      ...(port === undefined ? {} : { port }),
      ...(host === undefined ? {} : { host }),
    });
    say(server.url);
    if (!signal.aborted) await once(signal, 'abort');
    await server.close();
  },
};
