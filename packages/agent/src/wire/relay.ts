import { randomBytes, timingSafeEqual } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { AgentError, messageOf } from '../errors.ts';
import { download, type Source } from './download.ts';
import type { Throttle } from './throttle.ts';

/**
 * The way from `ostree` to a repository elsewhere, through this process: so that bytes are counted as they come, a limit
 * holds, a connection that stalls is taken up again where it was, and a certificate is judged as the agent judges it.
 */
export interface Relay {
  /** Where `ostree` finds the repository. */
  url: string;
  /** A line of a cookie file (Netscape's format, as curl reads it): who does not show it gets nothing. */
  cookie: string;
  /** Why the last request failed that did not get what it asked for; null if none did. */
  readonly problem: AgentError | null;
  close(): Promise<void>;
}

export interface RelayOptions {
  source: Source;
  throttle: Throttle;
  /** An object or part has arrived, or bytes of one have. */
  onBytes(bytes: number): void;
  onFile(path: string): void;
  signal?: AbortSignal | undefined;
}

export async function openRelay(o: RelayOptions): Promise<Relay> {
  const secret = randomBytes(16).toString('hex');
  const expected = Buffer.from(`treeline=${secret}`);
  const ending = new AbortController();
  const state = { problem: null as AgentError | null };
  const stop = () => ending.abort();
  o.signal?.addEventListener('abort', stop, { once: true });

  const serve = async (req: IncomingMessage, res: ServerResponse): Promise<void> => {
    const shown = Buffer.from(req.headers.cookie ?? '');
    const known = shown.length === expected.length && timingSafeEqual(shown, expected);
    if (!known || (req.method !== 'GET' && req.method !== 'HEAD')) return void res.writeHead(403).end();
    const path = req.url ?? '/';
    try {
      const status = await download(o.source, path, {
        throttle: o.throttle,
        signal: ending.signal,
        onStart: (length) => {
          res.writeHead(200, length === null ? {} : { 'content-length': length });
        },
        async write(chunk) {
          o.onBytes(chunk.length);
          if (!res.write(chunk)) await once(res, 'drain', { signal: ending.signal });
        },
      });
      if (status !== 200) return void res.writeHead(status).end();
      if (/^\/(objects|deltas)\//.test(path)) o.onFile(path);
      res.end();
    } catch (error) {
      state.problem = error instanceof AgentError ? error : new AgentError('unreachable', messageOf(error));
      if (res.headersSent) res.destroy();
      else res.writeHead(502).end();
    }
  };
  const server = createServer((req, res) => {
    res.on('error', () => {});
    void serve(req, res);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}`,
    cookie: ['127.0.0.1', 'FALSE', '/', 'FALSE', '0', 'treeline', secret].join('\t'),
    get problem() {
      return state.problem;
    },
    async close() {
      o.signal?.removeEventListener('abort', stop);
      ending.abort();
      server.closeAllConnections();
      await new Promise<void>((resolve) => server.close(() => resolve()));
    },
  };
}
