import type { Socket } from 'node:net';
import { OstreeError } from '../errors.ts';
import { Body } from './body.ts';
import { type Dialled, Dialler, type TlsOptions } from './dial.ts';
import { located, networkError, TransientError } from './errors.ts';
import { proxyFor } from './proxy.ts';
import { type ResponseHead, ResponseParser } from './response-parser.ts';
import { StallWatch, type Watched } from './stall-watch.ts';

export interface ClientOptions {
  tls?: TlsOptions | undefined;
  /** Goes before what the environment says. */
  proxy?: string | undefined;
  /** To one origin; more requests than that wait. */
  maxConnections: number;
  stallSeconds: number;
  /** Fewer bytes a second for so long is a stall. */
  bytesPerSecond: number;
}

export type Method = 'GET' | 'HEAD';

/** An answer whose body is still to be read. */
export interface Answer extends ResponseHead {
  readonly body: Body;
}

/**
 * A client for HTTP/1.1 and GET alone, on kept-alive connections: a pull makes tens of thousands of small requests,
 * and node:http needs four times as long for each. It knows no redirects and no retries. Close it, or its
 * connections keep the process alive.
 */
export class HttpClient {
  readonly #options: ClientOptions;
  readonly #origins = new Map<string, Origin>();
  readonly watch: StallWatch;
  #closed: Error | undefined;

  constructor(name: string, options: ClientOptions) {
    this.#options = options;
    this.watch = new StallWatch(name, options);
  }

  /** @param withIdentity shows our certificate; a stranger to whom we were sent need not know who we are */
  origin(url: URL, withIdentity: boolean): Origin {
    const key = `${withIdentity} ${url.origin}`;
    let origin = this.#origins.get(key);
    if (!origin) {
      const { tls = {}, proxy, maxConnections } = this.#options;
      const { cert: _cert, key: _key, ...anonymous } = tls;
      const dialler = new Dialler(url, { tls: withIdentity ? tls : anonymous, proxy: proxyFor(url, proxy) });
      origin = new Origin(url, dialler, this.watch, { maxConnections, connectSeconds: this.#options.stallSeconds });
      this.#origins.set(key, origin);
    }
    if (this.#closed) origin.close(this.#closed);
    return origin;
  }

  /** Ends everything that is under way with an error. */
  close(error: Error): void {
    if (this.#closed) return;
    this.#closed = error;
    this.watch.close();
    for (const origin of this.#origins.values()) origin.close(error);
  }
}

/** One server, and the connections to it. */
export class Origin {
  readonly #url: URL;
  readonly #dialler: Dialler;
  readonly #watch: StallWatch;
  readonly #max: number;
  readonly #connectSeconds: number;
  readonly #idle: Connection[] = [];
  readonly #connections = new Set<Connection>();
  readonly #waiting: Exchange[] = [];
  readonly #dials = new Set<AbortController>();
  #closed: Error | undefined;

  constructor(
    url: URL,
    dialler: Dialler,
    watch: StallWatch,
    { maxConnections, connectSeconds }: { maxConnections: number; connectSeconds: number },
  ) {
    this.#url = url;
    this.#dialler = dialler;
    this.#watch = watch;
    this.#max = maxConnections;
    this.#connectSeconds = connectSeconds;
  }

  /**
   * Sends a request.
   *
   * @param path begins with a slash; percent-encoded
   * @param headers lines that end with CR LF, without Host
   * @param what how errors name it
   */
  send(method: Method, path: string, headers: string, what: string): Exchange {
    const target = this.#dialler.isForwarded ? this.#url.origin + path : path;
    const { authorization } = this.#dialler;
    const proxy = authorization === undefined ? '' : `Proxy-Authorization: ${authorization}\r\n`;
    const text = `${method} ${target} HTTP/1.1\r\nHost: ${this.#url.host}\r\n${proxy}${headers}\r\n`;
    const exchange = new Exchange(method, text, what, (one) => this.#ended(one));
    this.#watch.add(exchange);
    this.#assign(exchange);
    return exchange;
  }

  close(error: Error): void {
    if (this.#closed) return;
    this.#closed = error;
    for (const dial of this.#dials) dial.abort(error);
    for (const exchange of this.#waiting.splice(0)) exchange.fail(error);
    for (const connection of [...this.#connections]) connection.destroy(error);
  }

  #assign(exchange: Exchange): void {
    // Also for one that is tried again: the connection that it was on may have been closed with all others.
    if (this.#closed) {
      exchange.fail(this.#closed);
      return;
    }
    for (let idle = this.#idle.pop(); idle; idle = this.#idle.pop()) {
      if (!idle.usable) continue;
      idle.start(exchange);
      return;
    }
    this.#waiting.push(exchange);
    if (this.#connections.size + this.#dials.size < this.#max) this.#dial();
  }

  #dial(): void {
    const dial = new AbortController();
    const timer = setTimeout(
      () => dial.abort(new TransientError(`${this.#url.host}: no connection in ${this.#connectSeconds} s`)),
      1000 * this.#connectSeconds,
    );
    this.#dials.add(dial);
    const ended = () => {
      clearTimeout(timer);
      this.#dials.delete(dial);
    };
    this.#dialler.open(dial.signal).then(
      (dialled) => {
        ended();
        const connection = new Connection(dialled, {
          free: (one) => this.#freed(one),
          gone: (one) => this.#gone(one),
          retry: (exchange) => this.#assign(exchange),
        });
        this.#connections.add(connection);
        if (this.#closed) connection.destroy(this.#closed);
        else this.#freed(connection);
      },
      (error: unknown) => {
        ended();
        // One for each that failed: others may be under way for those who wait still.
        const exchange = this.#waiting.shift();
        exchange?.fail(error === this.#closed ? error : located(exchange.what, error));
        this.#refill();
      },
    );
  }

  #refill(): void {
    while (
      !this.#closed &&
      this.#waiting.length > this.#dials.size &&
      this.#connections.size + this.#dials.size < this.#max
    )
      this.#dial();
  }

  #freed(connection: Connection): void {
    const next = this.#waiting.shift();
    if (next) connection.start(next);
    else this.#idle.push(connection);
  }

  #gone(connection: Connection): void {
    this.#connections.delete(connection);
    const at = this.#idle.indexOf(connection);
    if (at >= 0) this.#idle.splice(at, 1);
    this.#refill();
  }

  #ended(exchange: Exchange): void {
    this.#watch.delete(exchange);
    const at = this.#waiting.indexOf(exchange);
    if (at >= 0) this.#waiting.splice(at, 1);
  }
}

/** A request and its answer. */
export class Exchange implements Watched {
  readonly method: Method;
  readonly text: string;
  /** How errors name it. */
  readonly what: string;
  readonly answer: Promise<Answer>;
  readonly body: Body;
  /** Set around waits of our own, so that they are not taken for the server's. */
  paused = false;
  connection: Connection | undefined;
  readonly #resolve: (answer: Answer) => void;
  readonly #reject: (error: unknown) => void;
  readonly #ended: (exchange: Exchange) => void;
  #answered = false;
  #done = false;

  constructor(method: Method, text: string, what: string, ended: (exchange: Exchange) => void) {
    this.method = method;
    this.text = text;
    this.what = what;
    const { promise, resolve, reject } = Promise.withResolvers<Answer>();
    this.answer = promise;
    this.#resolve = resolve;
    this.#reject = reject;
    this.#ended = ended;
    this.body = new Body(
      (on) => this.connection?.flow(this, on),
      () => this.destroy(new OstreeError('network', `${what}: nobody wants the rest`)),
    );
  }

  get received(): number {
    return this.body.received;
  }

  /** Connections have a time limit of their own. */
  get waits(): boolean {
    return this.paused || this.body.isSlow || this.connection === undefined;
  }

  takeHead(head: ResponseHead): void {
    this.#answered = true;
    this.#resolve({ ...head, body: this.body });
  }

  end(): void {
    this.body.end();
    this.#finish();
  }

  fail(cause: unknown): void {
    if (this.#done) return;
    const error = networkError(this.what, cause);
    this.body.fail(error);
    if (!this.#answered) this.#reject(error);
    this.#finish();
  }

  /** Gives it up, with the connection that it is on. */
  destroy(error: Error): void {
    if (this.#done) return;
    const { connection } = this;
    this.fail(error);
    connection?.abandon();
  }

  #finish(): void {
    this.#done = true;
    this.connection = undefined;
    this.#ended(this);
  }
}

interface ConnectionOwner {
  free(connection: Connection): void;
  gone(connection: Connection): void;
  /** A request that the server closed its eyes to while it closed a connection that it had kept alive. */
  retry(exchange: Exchange): void;
}

/** One connection, and the exchange that is on it. */
class Connection {
  readonly #socket: Socket;
  readonly #owner: ConnectionOwner;
  readonly #parser: ResponseParser;
  #exchange: Exchange | undefined;
  #served = 0;
  #heard = false;
  #gone = false;

  constructor({ socket, receive, volatile }: Dialled, owner: ConnectionOwner) {
    this.#socket = socket;
    this.#owner = owner;
    this.#parser = new ResponseParser({
      onHead: (head) => this.#exchange?.takeHead(head),
      onBody: (piece) => this.#exchange?.body.push(volatile ? Buffer.from(piece) : piece),
      onEnd: (reusable) => this.#onEnd(reusable),
    });
    socket.on('error', (error: Error) => this.destroy(error));
    socket.on('end', () => this.#onClose());
    socket.on('close', () => this.#onClose());
    receive((piece) => this.#onData(piece));
  }

  get usable(): boolean {
    return !this.#gone && !this.#socket.destroyed && this.#socket.writable;
  }

  start(exchange: Exchange): void {
    this.#exchange = exchange;
    this.#heard = false;
    exchange.connection = this;
    this.#parser.begin(exchange.method);
    this.#socket.write(exchange.text, 'latin1');
  }

  /** Stops or goes on reading for an exchange, if that is still on this connection. */
  flow(exchange: Exchange, on: boolean): void {
    if (exchange !== this.#exchange) return;
    if (on) this.#socket.resume();
    else this.#socket.pause();
  }

  /** Its exchange has been given up. */
  abandon(): void {
    this.#exchange = undefined;
    this.destroy(CLOSING);
  }

  destroy(error: Error): void {
    if (this.#gone) return;
    this.#gone = true;
    this.#socket.destroy();
    const exchange = this.#exchange;
    this.#exchange = undefined;
    this.#owner.gone(this);
    // A server may close a connection that it kept alive in the very moment in which a request is sent on it.
    if (exchange && this.#served > 0 && !this.#heard && isClosing(error)) {
      exchange.connection = undefined;
      this.#owner.retry(exchange);
    } else exchange?.fail(error);
  }

  #onData(piece: Buffer): void {
    if (this.#gone) return;
    this.#heard = true;
    try {
      this.#parser.push(piece);
    } catch (error) {
      this.#fail(error);
    }
  }

  #onEnd(reusable: boolean): void {
    const exchange = this.#exchange;
    this.#exchange = undefined;
    this.#served++;
    exchange?.end();
    if (!reusable || !this.usable) {
      this.destroy(CLOSING);
      return;
    }
    this.#socket.resume();
    // Not from within the parser, which is not through with its piece.
    queueMicrotask(() => {
      if (!this.#gone) this.#owner.free(this);
    });
  }

  #onClose(): void {
    if (this.#gone) return;
    try {
      this.#parser.close();
      this.destroy(CLOSING);
    } catch (error) {
      this.#fail(error);
    }
  }

  #fail(error: unknown): void {
    this.destroy(this.#exchange ? located(this.#exchange.what, error) : (error as Error));
  }
}

/** Not an error of anything: a connection has done its work. */
const CLOSING = new OstreeError('network', 'the connection is not needed any more');

function isClosing(error: Error): boolean {
  return error === CLOSING || ('code' in error && /^(network|ECONNRESET|EPIPE)$/.test(String(error.code)));
}
