import * as http from 'node:http';
import * as https from 'node:https';
import { setTimeout as sleep } from 'node:timers/promises';
import { OstreeError, systemCode } from '../errors.ts';

export interface TlsOptions {
  /** The client's certificate and its private key, PEM. */
  cert?: string | Uint8Array;
  key?: string | Uint8Array;
  /** What the server's certificate must lead to, PEM. Default: the system's authorities. */
  ca?: string | Uint8Array;
}

export interface HttpOptions {
  tls?: TlsOptions | undefined;
  headers?: Record<string, string> | undefined;
  signal?: AbortSignal | undefined;
  /** A connection that moves fewer than 1000 bytes a second for so long is given up and tried again. Default 30. */
  stallSeconds?: number | undefined;
  /** How often a request is tried again after a network error, a 5xx or a 429. Default 5, as libostree. */
  retries?: number | undefined;
}

/** Requests under way at the same time, as libostree does it; browsers use 6. */
export const MAX_REQUESTS = 8;

const MAX_REDIRECTS = 5;
const MIN_BYTES_PER_SECOND = 1000;
const FIRST_WAIT_MS = 200;
const MAX_WAIT_MS = 30_000;
const MAX_IDLE_BODY = 64 * 1024;
const NOT_FOUND = new Set([403, 404, 410]);
/** What to do about an answer of 403 where something should be. */
export const ACCESS_HINT =
  'The server does not let you read this, or hides so that it is not there. ' +
  'Check the address and what you may read; give a client certificate or headers if it wants them.';
const REDIRECTS = new Set([301, 302, 303, 307, 308]);

/** Worth another try: the network or the server failed, and nothing says that it will again. */
export class TransientError extends OstreeError {
  /** Milliseconds that the server asked to wait (Retry-After), or 0. */
  readonly waitMs: number;

  constructor(message: string, options: { cause?: unknown; waitMs?: number } = {}) {
    super('network', message, {
      cause: options.cause,
      hint: 'Check the address and the connection; what was fetched is kept, and the same pull goes on from there.',
    });
    this.waitMs = options.waitMs ?? 0;
  }
}

/** An answer whose body is still to be read. */
export interface Reply {
  status: number;
  headers: http.IncomingHttpHeaders;
  body: http.IncomingMessage;
  /** Called around waits that are our own (a slow disk): they are not the server's stalling. */
  pause(on: boolean): void;
  /** How errors name what was asked for. */
  what: string;
}

interface Active {
  request: http.ClientRequest;
  body: http.IncomingMessage | undefined;
  /** Bytes in the present window, and when the window began. */
  bytes: number;
  since: number;
  paused: boolean;
}

/** Requests to one repository over HTTP(S), on kept-alive connections. Close it, or they keep the process alive. */
export class HttpSource {
  readonly base: URL;
  readonly #options: HttpOptions;
  readonly #agent: http.Agent;
  /** For hosts that a redirect leads to: they see neither our certificate nor our headers. */
  readonly #strangers: http.Agent;
  readonly #active = new Set<Active>();
  readonly #forbidden = new Map<string, string>();
  readonly #watch: NodeJS.Timeout;
  readonly #stallMs: number;
  #lastTick = Date.now();
  #closed: Error | undefined;

  constructor(url: string, options: HttpOptions = {}) {
    this.base = parseUrl(url);
    this.#options = options;
    const secure = this.base.protocol === 'https:';
    const pooling = { keepAlive: true, maxSockets: MAX_REQUESTS, scheduling: 'lifo' as const };
    const { cert, key, ca } = options.tls ?? {};
    const trust = ca === undefined ? {} : { ca: bytes(ca) };
    const identity = cert === undefined || key === undefined ? {} : { cert: bytes(cert), key: bytes(key) };
    this.#agent = secure ? new https.Agent({ ...pooling, ...trust, ...identity }) : new http.Agent(pooling);
    this.#strangers = secure ? new https.Agent({ ...pooling, ...trust }) : new http.Agent(pooling);
    this.#stallMs = 1000 * (options.stallSeconds ?? 30);
    this.#watch = setInterval(() => this.#giveUpStalled(), Math.max(50, this.#stallMs / 4));
    this.#watch.unref();
    options.signal?.addEventListener('abort', this.#onAbort);
  }

  readonly #onAbort = () => this.close(this.#options.signal?.reason);

  /** Ends everything that is under way. */
  close(reason?: unknown): void {
    const closed = () => new OstreeError('network', `${this.base.host}: the connection was closed`, { cause: reason });
    this.#closed ??= reason instanceof Error ? reason : closed();
    const error = this.#closed;
    clearInterval(this.#watch);
    this.#options.signal?.removeEventListener('abort', this.#onAbort);
    for (const { request, body } of this.#active) {
      body?.destroy(error);
      request.destroy(error);
    }
    this.#agent.destroy();
    this.#strangers.destroy();
  }

  /**
   * Gets a file of the repository and hands the answer (200, or 206 and 416 if a Range was asked for) to
   * `consume`, again from the start when the connection breaks.
   *
   * @param path below the repository, already fit for a URL
   * @param headers asked for anew at each try
   * @returns null when there is no such file, or none that the server gives us (see forbidden)
   * @throws OstreeError `network` after the last try; what `consume` throws, at once
   */
  async get<T>(
    path: string,
    consume: (reply: Reply) => Promise<T>,
    headers: () => Record<string, string> | undefined = () => undefined,
  ): Promise<T | null> {
    const retries = this.#options.retries ?? 5;
    for (let attempt = 0; ; attempt++) {
      try {
        return await this.#attempt(path, consume, headers());
      } catch (error) {
        if (this.#closed) throw this.#closed;
        if (!(error instanceof TransientError) || attempt >= retries) throw error;
        const backOff = FIRST_WAIT_MS * 2 ** attempt * (0.75 + Math.random() / 2);
        const wait = Math.min(Math.max(backOff, error.waitMs), MAX_WAIT_MS);
        await sleep(wait, undefined, this.#options.signal ? { signal: this.#options.signal } : {});
      }
    }
  }

  /**
   * What the server said ("403 Forbidden") when a file was asked for that `get` then said is not there. Object
   * stores answer so for what they do not have, too, so by itself it is no error.
   */
  forbidden(path: string): string | undefined {
    return this.#forbidden.get(path);
  }

  /** A small file whole, or null when there is none. Throws `corrupt` beyond `limit` bytes. */
  async bytes(path: string, limit: number): Promise<Buffer | null> {
    return this.get(path, (reply) => readBody(reply, limit));
  }

  async #attempt<T>(
    path: string,
    consume: (reply: Reply) => Promise<T>,
    headers: Record<string, string> | undefined,
  ): Promise<T | null> {
    let url = new URL(this.base);
    url.pathname += path;
    for (let redirects = 0; ; redirects++) {
      if (this.#closed) throw this.#closed;
      const active: Active = { request: null!, body: undefined, bytes: 0, since: Date.now(), paused: false };
      this.#active.add(active);
      try {
        const body = await this.#send(url, headers, active);
        const status = body.statusCode ?? 0;
        if (REDIRECTS.has(status) && body.headers.location !== undefined) {
          body.destroy();
          if (redirects >= MAX_REDIRECTS)
            throw new OstreeError('network', `${url}: more than ${MAX_REDIRECTS} redirects`);
          url = redirected(url, body.headers.location);
          continue;
        }
        if (NOT_FOUND.has(status)) {
          if (status === 403) this.#forbidden.set(path, `${status} ${body.statusMessage ?? ''}`.trimEnd());
          else this.#forbidden.delete(path);
          // Read to its end if that is near, so that the connection can be used again.
          if (Number(body.headers['content-length'] ?? Number.NaN) <= MAX_IDLE_BODY) body.resume();
          else body.destroy();
          return null;
        }
        if (status !== 200 && status !== 206 && status !== 416) throw refused(url, body);
        if ((body.headers['content-encoding'] ?? 'identity') !== 'identity') {
          body.destroy();
          throw new OstreeError('network', `${url}: the server compresses what must come as it is`);
        }
        const pause = (on: boolean) => {
          active.paused = on;
          active.bytes = 0;
          active.since = Date.now();
        };
        body.on('data', (chunk: Buffer) => {
          active.bytes += chunk.length;
        });
        body.pause(); // the listener only counts; consume decides when to read
        return await consume({ status, headers: body.headers, body, pause, what: url.href });
      } finally {
        this.#active.delete(active);
        if (active.body && !active.body.readableEnded && !active.body.readableFlowing) active.body.destroy();
      }
    }
  }

  #send(url: URL, headers: Record<string, string> | undefined, active: Active): Promise<http.IncomingMessage> {
    const own = url.origin === this.base.origin;
    const client = url.protocol === 'https:' ? https : http;
    return new Promise((resolve, reject) => {
      // Not the URL itself: taking it apart again for each of ten thousand requests is not for nothing.
      const request = client.request({
        agent: own ? this.#agent : this.#strangers,
        protocol: url.protocol,
        hostname: url.hostname.replace(/^\[|\]$/g, ''),
        port: url.port,
        path: url.pathname + url.search,
        ...(url.username ? { auth: decodeURIComponent(`${url.username}:${url.password}`) } : {}),
        headers: { 'user-agent': 'treeline', ...(own ? this.#options.headers : {}), ...headers },
      });
      active.request = request;
      request.on('error', (cause) => reject(networkError(url, cause)));
      request.on('response', (response) => {
        active.body = response;
        // Errors are seen by whoever reads the body; this keeps one after that from ending the process.
        response.on('error', () => {});
        resolve(response);
      });
      request.end();
    });
  }

  #giveUpStalled(): void {
    const now = Date.now();
    // When this process itself stood still, nobody has been watching the connections.
    const late = now - this.#lastTick > this.#stallMs / 2 + 100;
    this.#lastTick = now;
    for (const active of this.#active) {
      if (late || active.paused) {
        active.since = now;
        active.bytes = 0;
        continue;
      }
      const elapsed = now - active.since;
      if (elapsed < this.#stallMs) continue;
      if (active.bytes < (MIN_BYTES_PER_SECOND * elapsed) / 1000) {
        const error = new TransientError(
          `${this.base.host}: stalled, ${active.bytes} bytes in ${Math.round(elapsed / 1000)} s`,
        );
        active.body?.destroy(error);
        active.request.destroy(error);
      }
      active.since = now;
      active.bytes = 0;
    }
  }
}

function parseUrl(text: string): URL {
  let url: URL;
  try {
    url = new URL(text);
  } catch (cause) {
    throw new OstreeError('invalid', `${JSON.stringify(text)} is not a URL`, { cause });
  }
  if (url.protocol !== 'http:' && url.protocol !== 'https:') {
    throw new OstreeError('unsupported', `${text}: can only pull from http, https and local paths`);
  }
  if (!url.pathname.endsWith('/')) url.pathname += '/';
  url.hash = '';
  return url;
}

function bytes(pem: string | Uint8Array): string | Buffer {
  return typeof pem === 'string' ? pem : Buffer.from(pem);
}

function redirected(from: URL, location: string): URL {
  let to: URL;
  try {
    to = new URL(location, from);
  } catch (cause) {
    throw new OstreeError('network', `${from}: redirects to something that is not a URL`, { cause });
  }
  if (to.protocol !== from.protocol) throw new OstreeError('network', `${from}: redirects to ${to.protocol}`);
  return to;
}

function refused(url: URL, body: http.IncomingMessage): OstreeError {
  const status = body.statusCode ?? 0;
  const message = `${url}: the server answered ${status} ${body.statusMessage ?? ''}`.trimEnd();
  body.destroy();
  if (status >= 500 || status === 429) {
    const seconds = Number(body.headers['retry-after'] ?? 0);
    return new TransientError(message, { waitMs: Number.isFinite(seconds) ? Math.max(0, seconds) * 1000 : 0 });
  }
  const hint = status === 401 ? 'The server wants credentials: give a client certificate or headers.' : undefined;
  return new OstreeError('network', message, hint === undefined ? {} : { hint });
}

/** Certificates do not get better by trying again. */
const FATAL = /^(?:ERR_TLS_|CERT_|UNABLE_TO_|DEPTH_ZERO_|SELF_SIGNED_|ERR_SSL_|EPROTO$|ERR_INVALID_|ERR_OSSL_)/;

/** Certificates that lead to no authority that we know. */
const UNTRUSTED = /^(?:DEPTH_ZERO_SELF_SIGNED_CERT|SELF_SIGNED_CERT_IN_CHAIN|UNABLE_TO_\w+|CERT_UNTRUSTED)$/;
/** What OpenSSL makes of a server that answers in the clear. */
const NOT_TLS = /wrong version number|packet length too long|http request|unknown protocol/i;

/** Failures of TLS that somebody can do something about, in words; null for others. */
function tlsError(url: URL | string, code: string, reason: string | undefined, cause: unknown): OstreeError | null {
  if (UNTRUSTED.test(code)) {
    return new OstreeError('network', `${url}: the server's certificate is not trusted: ${reason}`, {
      cause,
      hint:
        'If the server has a certificate of its own authority, name that: ' +
        'tls-ca-path in the settings of the remote, or the option tls.ca (PEM).',
    });
  }
  if (code !== 'EPROTO' && !code.startsWith('ERR_SSL_')) return null;
  if (NOT_TLS.test(reason ?? '')) {
    return new OstreeError('network', `${url}: the server does not speak TLS on this port`, {
      cause,
      hint: 'Check the port; if the repository is served without TLS, its address begins with http://.',
    });
  }
  // "write EPROTO 40FD…:error:0A000410:SSL routines:ssl3_read_bytes:…:../deps/…c:905:SSL alert number 40"
  const told = /:SSL routines:[^:]*:([^:]+):/.exec(reason ?? '')?.[1];
  return told === undefined ? null : new OstreeError('network', `${url}: TLS failed: ${told}`, { cause });
}

/** An error of the network layer, as this package's own. */
export function networkError(url: URL | string, cause: unknown): OstreeError {
  if (cause instanceof OstreeError) return cause;
  const reason = cause instanceof Error ? cause.message || systemCode(cause) : String(cause);
  const message = `${url}: ${reason}`;
  const tls = tlsError(url, systemCode(cause) ?? '', reason, cause);
  if (tls) return tls;
  if (FATAL.test(systemCode(cause) ?? '')) return new OstreeError('network', message, { cause });
  return new TransientError(message, { cause });
}

/** The body of an answer, in memory. Throws `corrupt` as soon as it is longer than `limit`. */
export function readBody(reply: Reply, limit: number): Promise<Buffer> {
  const { body, what } = reply;
  const announced = Number(reply.headers['content-length'] ?? 0);
  return new Promise((resolve, reject) => {
    const tooLong = (length: number) => {
      body.destroy();
      reject(
        new OstreeError('corrupt', `${what}: ${length} bytes, where at most ${limit} make sense`, { offset: limit }),
      );
    };
    if (announced > limit) return tooLong(announced);
    const chunks: Buffer[] = [];
    let length = 0;
    body.on('data', (chunk: Buffer) => {
      length += chunk.length;
      if (length > limit) return tooLong(length);
      chunks.push(chunk);
    });
    body.on('end', () => resolve(chunks.length === 1 ? chunks[0]! : Buffer.concat(chunks, length)));
    body.on('error', (cause) => reject(networkError(what, cause)));
    body.on('close', () => {
      if (!body.readableEnded) reject(new TransientError(`${what}: the connection closed after ${length} bytes`));
    });
    body.resume();
  });
}
