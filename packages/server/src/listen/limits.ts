import type { IncomingMessage, Server, ServerOptions, ServerResponse } from 'node:http';
import type { Server as TlsServer } from 'node:https';
import { clientKey } from '../access/address.ts';
import { isLoopback } from '../settings.ts';

/** How long a client may take. */
export interface Patience {
  /** For the headers of a request, or for saying anything at all after it has connected. ms */
  headers: number;
  /** Between two requests: longer than proxies keep connections, or they send into one that is just being closed. ms */
  idle: number;
  /** Without a byte in either direction, whatever is going on; longer than the server's own work takes. ms */
  silence: number;
  /** A body has to grow by `bytes` in each `ms`, or in the next, unless it is the server that does not read it. */
  body: { ms: number; bytes: number };
}

const PATIENCE: Patience = {
  headers: 15_000,
  idle: 65_000,
  silence: 600_000,
  body: { ms: 15_000, bytes: 16 * 1024 },
};

/** Options of a server (HTTP or HTTPS) that slow clients cannot hold up. */
export function serverOptions(patience: Patience = PATIENCE): ServerOptions & { handshakeTimeout: number } {
  return {
    headersTimeout: patience.headers,
    keepAliveTimeout: patience.idle,
    // Bodies have no length that they must end by: a push takes what it takes. See `guardBody`.
    requestTimeout: 0,
    connectionsCheckingInterval: Math.min(patience.headers / 3, 5000),
    handshakeTimeout: patience.headers,
  };
}

export interface ConnectionLimits {
  /** All together. */
  most: number;
  /** Whether an address may have as many as there are: proxies, which stand for many clients. */
  isProxy: (address: string) => boolean;
  patience?: Patience;
}

/** What one address may have of the connections that a server takes: enough for a room full of devices behind it. */
const SHARE = 4;

/**
 * Bounds the connections of a server, of each address and all together, and ends requests whose body trickles in.
 * Connections beyond are closed at once.
 */
export function limitConnections(
  // An HTTPS server has the same events; in a union they would be of no type.
  either: Server | TlsServer,
  { most, isProxy, patience = PATIENCE }: ConnectionLimits,
): void {
  const server = either as Server;
  server.maxConnections = most;
  server.setTimeout(patience.silence);
  const counts = new Map<string, number>();
  server.on('connection', (socket) => {
    const { remoteAddress } = socket;
    const address = remoteAddress?.replace(/^::ffff:/, '');
    if (address === undefined || isLoopback(address) || isProxy(address)) return;
    const key = clientKey(address);
    const count = (counts.get(key) ?? 0) + 1;
    if (count > Math.max(1, Math.floor(most / SHARE))) {
      socket.destroy();
      return;
    }
    counts.set(key, count);
    socket.once('close', () => {
      const left = counts.get(key)! - 1;
      if (left === 0) counts.delete(key);
      else counts.set(key, left);
    });
  });
  server.on('request', (req, res) => guardBody(req, res, patience.body));
}

/** Ends a request whose sender keeps a connection busy with next to nothing, also after it was answered. */
function guardBody(req: IncomingMessage, res: ServerResponse, { ms, bytes }: Patience['body']): void {
  if (req.headers['content-length'] === undefined && req.headers['transfer-encoding'] === undefined) return;
  const { socket } = req;
  let slow = 0;
  let seen = socket.bytesRead;
  const timer = setInterval(() => {
    if (req.complete || socket.destroyed) return clearInterval(timer);
    const got = socket.bytesRead - seen;
    seen = socket.bytesRead;
    // What has arrived and was not read yet: the server is busy, and the sender waits for it.
    const isFine = got >= bytes || req.readableLength >= req.readableHighWaterMark;
    slow = isFine ? 0 : slow + 1;
    // Twice in a row: after a busy moment of the server, what has arrived meanwhile is not counted yet.
    if (slow < 2) return;
    clearInterval(timer);
    if (!res.headersSent) {
      res.writeHead(408, { connection: 'close', 'content-type': 'text/plain; charset=utf-8' });
      res.end('The body of the request comes in too slowly.\n');
    }
    setTimeout(() => socket.destroy(), 1000).unref();
  }, ms);
  timer.unref();
  req.once('end', () => clearInterval(timer));
}
