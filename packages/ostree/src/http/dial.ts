import { readFileSync } from 'node:fs';
import { connect, isIP, type Socket } from 'node:net';
import * as tls from 'node:tls';
import { OstreeError } from '../errors.ts';
import { malformed, TransientError } from './errors.ts';
import { hostOf, type ProxyServer } from './proxy.ts';
import { ResponseParser } from './response-parser.ts';

/** Whom to trust, and who we are. Certificates and keys are PEM. */
export interface TlsOptions {
  /** The client's certificate and its private key, PEM. */
  cert?: string | Uint8Array;
  key?: string | Uint8Array;
  /** What the server's certificate must lead to, PEM. Default: the system's authorities. */
  ca?: string | Uint8Array;
  /** Takes whatever certificate the server has. Then anybody in between can read and change everything. */
  permissive?: boolean;
}

/** Where distributions keep the authorities that the machine's owner trusts. */
const SYSTEM_AUTHORITIES = [
  '/etc/ssl/certs/ca-certificates.crt',
  '/etc/pki/tls/certs/ca-bundle.crt',
  '/etc/ssl/cert.pem',
];

/** A connection that is ready for a request. */
export interface Dialled {
  socket: Socket;
  /**
   * Says who takes what is received.
   *
   * @param take its pieces are good until it returns, if `volatile`
   */
  receive: (take: (piece: Buffer) => void) => void;
  volatile: boolean;
}

/** What one connection reads into, over and over: a piece of memory for each read would be garbage at once. */
const READ_BYTES = 64 * 1024;

/** Opens connections of one kind: to one origin, perhaps through a proxy. */
export class Dialler {
  readonly #origin: URL;
  readonly #proxy: ProxyServer | null;
  readonly #tls: TlsOptions;
  #context: tls.SecureContext | undefined;
  /** Of an earlier connection: the next one need not exchange certificates again. */
  #session: Buffer | undefined;

  constructor(origin: URL, options: { tls: TlsOptions; proxy: ProxyServer | null }) {
    this.#origin = origin;
    this.#proxy = options.proxy;
    this.#tls = options.tls;
  }

  /** Whether requests name the whole URL, as a proxy wants it. */
  get isForwarded(): boolean {
    return this.#proxy !== null && this.#origin.protocol === 'http:';
  }

  /** What the proxy wants to know with every request. */
  get authorization(): string | undefined {
    return this.isForwarded ? this.#proxy?.authorization : undefined;
  }

  /** Rejects with the network's error, or when aborted. */
  async open(signal: AbortSignal): Promise<Dialled> {
    const secure = this.#origin.protocol === 'https:';
    const first = this.#proxy?.url ?? this.#origin;
    if (!secure && first.protocol === 'http:') return this.#plain(first, signal);
    const socket = await this.#tunnelled(first, secure, signal);
    return { socket, receive: (take) => void socket.on('data', take), volatile: false };
  }

  /** The same as a stream like any other, for who reads it in another way. */
  async openSocket(signal: AbortSignal): Promise<Socket> {
    return this.#tunnelled(this.#proxy?.url ?? this.#origin, this.#origin.protocol === 'https:', signal);
  }

  async #plain(to: URL, signal: AbortSignal): Promise<Dialled> {
    let taker: ((piece: Buffer) => void) | undefined;
    const early: Buffer[] = [];
    const onread = {
      buffer: Buffer.allocUnsafeSlow(READ_BYTES),
      callback: (length: number, buffer: Uint8Array) => {
        const piece = Buffer.from(buffer.buffer, buffer.byteOffset, length);
        if (taker) taker(piece);
        else early.push(Buffer.from(piece));
        return true;
      },
    };
    const socket = await settled(connect({ ...addressOf(to), onread }), 'connect', signal);
    const receive = (take: (piece: Buffer) => void) => {
      taker = take;
      for (const piece of early.splice(0)) take(piece);
    };
    return { socket, receive, volatile: true };
  }

  async #tunnelled(first: URL, secure: boolean, signal: AbortSignal): Promise<Socket> {
    let socket: Socket = await settled(connect(addressOf(first)), 'connect', signal);
    if (this.#proxy?.url.protocol === 'https:') {
      socket = await this.#secure(socket, hostOf(first), signal, {});
    }
    if (!secure) return socket;
    if (this.#proxy) await tunnel(socket, this.#origin, this.#proxy, signal);
    return this.#secure(socket, hostOf(this.#origin), signal, this.#tls);
  }

  #secure(socket: Socket, host: string, signal: AbortSignal, options: TlsOptions): Promise<tls.TLSSocket> {
    const own = options === this.#tls;
    if (own) this.#context ??= secureContext(options);
    const context = (own ? this.#context : undefined) ?? secureContext(options);
    const secured = tls.connect({
      socket,
      secureContext: context,
      ALPNProtocols: ['http/1.1'],
      rejectUnauthorized: options.permissive !== true,
      host,
      ...(isIP(host) ? {} : { servername: host }),
      ...(own && this.#session ? { session: this.#session } : {}),
    });
    if (own) {
      secured.on('session', (session: Buffer) => {
        this.#session = session;
      });
    }
    return settled(secured, 'secureConnect', signal);
  }
}

function addressOf(to: URL): { host: string; port: number; noDelay: true; keepAlive: true } {
  const port = Number(to.port || (to.protocol === 'https:' ? 443 : 80));
  return { host: hostOf(to), port, noDelay: true, keepAlive: true };
}

/** Waits for a socket to become usable. */
function settled<T extends Socket>(socket: T, event: string, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const abort = () => socket.destroy(signal.reason as Error);
    const done = () => {
      signal.removeEventListener('abort', abort);
      socket.off('error', failed).off('close', closed);
    };
    const failed = (error: Error) => {
      done();
      socket.on('error', () => {});
      reject(error);
    };
    const closed = () => failed(new TransientError('the connection was closed before it was ready'));
    socket.once(event, () => {
      done();
      resolve(socket);
    });
    socket.once('error', failed).once('close', closed);
    if (signal.aborted) abort();
    else signal.addEventListener('abort', abort);
  });
}

function secureContext({ cert, key, ca }: TlsOptions): tls.SecureContext {
  return tls.createSecureContext({
    ...(cert === undefined || key === undefined ? {} : { cert: pem(cert), key: pem(key) }),
    ...(ca === undefined ? systemAuthorities() : { ca: pem(ca) }),
  });
}

function systemAuthorities(): { ca?: (string | Buffer)[] } {
  for (const file of SYSTEM_AUTHORITIES) {
    try {
      return { ca: [readFileSync(file), ...tls.getCACertificates('extra')] };
    } catch {
      // the next one, or what Node.js brings along
    }
  }
  return {};
}

function pem(text: string | Uint8Array): string | Buffer {
  return typeof text === 'string' ? text : Buffer.from(text);
}

/** Asks a proxy to pass everything on to a host. */
async function tunnel(socket: Socket, to: URL, proxy: ProxyServer, signal: AbortSignal): Promise<void> {
  const host = `${to.hostname}:${to.port || 443}`;
  const authorization = proxy.authorization === undefined ? '' : `Proxy-Authorization: ${proxy.authorization}\r\n`;
  await new Promise<void>((resolve, reject) => {
    const settle = (error: Error | null) => {
      socket.off('data', read).off('error', fail).off('close', close);
      signal.removeEventListener('abort', abort);
      if (!error) return resolve();
      socket.on('error', () => {});
      socket.destroy();
      reject(error);
    };
    const parser = new ResponseParser({
      onHead({ status, reason }) {
        if (status >= 200 && status < 300) settle(null);
        else settle(refusedByProxy(proxy.url, host, `${status} ${reason}`.trimEnd(), status));
      },
      onBody() {},
      onEnd() {},
    });
    const read = (piece: Buffer) => {
      try {
        // As after HEAD: what follows the head is the other host's, who speaks only when spoken to.
        parser.push(piece);
      } catch (error) {
        settle(error as Error);
      }
    };
    const fail = (error: Error) => settle(error);
    const close = () => settle(malformed('the proxy closed the connection'));
    const abort = () => settle(signal.reason as Error);
    parser.begin('HEAD');
    socket.on('data', read).once('error', fail).once('close', close);
    signal.addEventListener('abort', abort);
    socket.write(`CONNECT ${host} HTTP/1.1\r\nHost: ${host}\r\n${authorization}\r\n`, 'latin1');
  });
}

function refusedByProxy(proxy: URL, host: string, said: string, status: number): Error {
  const hint = status === 407 ? 'The proxy wants credentials: http://user:password@proxy:port.' : undefined;
  const message = `the proxy ${proxy.host} does not connect to ${host}: ${said}`;
  return status >= 500
    ? new TransientError(message, hint === undefined ? {} : { hint })
    : new OstreeError('network', message, hint === undefined ? {} : { hint });
}
