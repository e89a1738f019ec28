import { OstreeError } from '../errors.ts';
import { createServer } from '../http/node-http.ts';
import { openRepo } from '../repo/repo.ts';
import { type RepositoryHandlerOptions, repositoryHandler } from './handler.ts';

/** Where a server listens, and how it serves. */
export interface ServeOptions extends RepositoryHandlerOptions {
  /** Address to listen on. Default 127.0.0.1: nobody else's business unless said so. */
  host?: string;
  /** Default: any free port. */
  port?: number;
  /** Closes the server when aborted. */
  signal?: AbortSignal;
}

/** A server that listens. */
export interface RepositoryServer {
  /** Without a slash at the end: give it to `ostree remote add` or to pull. */
  readonly url: string;
  /** Stops listening and drops all connections. */
  close(): Promise<void>;
}

/**
 * Serves a repository over plain HTTP until it is closed.
 *
 * @throws OstreeError `not-found` without a repository there, `unsupported` for one that is not an archive, which
 *   is the only mode that clients pull from over HTTP, `io` when the address cannot be listened on
 */
export async function serveRepository(path: string, options: ServeOptions = {}): Promise<RepositoryServer> {
  options.signal?.throwIfAborted();
  const repo = await openRepo(path);
  if (repo.mode !== 'archive') {
    throw new OstreeError('unsupported', `${path}: a ${repo.mode} repository cannot be pulled from over HTTP`, {
      hint: 'Copy what is to be served into an archive repository.',
    });
  }
  const handler = repositoryHandler(path, options);
  const server = createServer({ keepAlive: true, keepAliveTimeout: 60_000, noDelay: true }, (req, res) => {
    handler(req, res, req.url ?? '/').catch(() => {
      if (res.headersSent) res.destroy();
      else res.writeHead(500, { 'Content-Length': '0' }).end();
    });
  });
  const host = options.host ?? '127.0.0.1';
  await new Promise<void>((resolve, reject) => {
    server.once('error', (cause) => {
      reject(new OstreeError('io', `cannot listen on ${host}:${options.port ?? 0}: ${cause.message}`, { cause }));
    });
    server.listen(options.port ?? 0, host, resolve);
  });
  const close = async (): Promise<void> => {
    options.signal?.removeEventListener('abort', abort);
    const closed = new Promise<void>((resolve) => server.close(() => resolve()));
    server.closeAllConnections();
    await closed;
  };
  const abort = () => void close();
  options.signal?.addEventListener('abort', abort);
  const address = server.address();
  const port = typeof address === 'object' && address ? address.port : (options.port ?? 0);
  return { url: `http://${host.includes(':') ? `[${host}]` : host}:${port}`, close };
}
