import { setTimeout as sleep } from 'node:timers/promises';
import { OstreeError } from '../errors.ts';
import { Body } from '../http/body.ts';
import type { Answer, Exchange } from '../http/client.ts';
import { HttpClient, type Method } from '../http/client.ts';
import { type Cookie, cookiesFor } from '../http/cookies.ts';
import type { TlsOptions } from '../http/dial.ts';
import { TransientError } from '../http/errors.ts';
import { basicAuthorization } from '../http/proxy.ts';
import type { Reply } from '../http/reply.ts';
import { readBody, refused } from '../http/reply.ts';
import { headerLines } from '../http/request-headers.ts';

export type { TlsOptions } from '../http/dial.ts';
export { networkError, TransientError } from '../http/errors.ts';
export { type Reply, readBody } from '../http/reply.ts';

/** How requests are made. */
export interface HttpOptions {
  tls?: TlsOptions | undefined;
  /** Sent with every request to the remote itself, not where it redirects to. */
  headers?: Readonly<Record<string, string>> | undefined;
  /** What this program calls itself. Default `treeline`. */
  userAgent?: string | undefined;
  /** Cookies to send to whom they are for. */
  cookies?: readonly Cookie[] | undefined;
  /** An HTTP proxy, `http://[user:password@]host:port`. Default: what http_proxy, https_proxy and no_proxy say. */
  proxy?: string | undefined;
  signal?: AbortSignal | undefined;
  /** A connection that moves too few bytes a second for so long is given up and tried again. Default 30. */
  stallSeconds?: number | undefined;
  /** How few those are. Default 1000. */
  lowSpeedBytes?: number | undefined;
  /** How often a request is tried again after a network error, a 5xx, a 408 or a 429. Default 5, as libostree. */
  retries?: number | undefined;
  /** Requests under way at the same time. Default 8. */
  maxRequests?: number | undefined;
}

/** Requests under way at the same time, as libostree does it; browsers use 6. */
export const MAX_REQUESTS = 8;

const MAX_REDIRECTS = 5;
const LOW_SPEED_BYTES = 1000;
const STALL_SECONDS = 30;
const RETRIES = 5;
const FIRST_WAIT_MS = 200;
const MAX_WAIT_MS = 30_000;
const MAX_IDLE_BODY = 64 * 1024;
const NOT_FOUND = new Set([403, 404, 410]);
/** What to do about an answer of 403 where something should be. */
export const ACCESS_HINT =
  'The server does not let you read this, or hides so that it is not there. ' +
  'Check the address and what you may read; give a client certificate or headers if it wants them.';
const REDIRECTS = new Set([301, 302, 303, 307, 308]);

/** A place at which the repository is, or what of it is served there. */
interface Mirror {
  /** Ends with a slash, and says nothing about who we are. */
  url: URL;
  authorization: string | undefined;
}

/**
 * Requests to one repository over HTTP(S), which may be at several places: metadata that says what there is comes
 * from `url`, what it says by checksum from `contentUrls`. A place that fails is passed over for the next one.
 * Close it, or its connections keep the process alive.
 */
export class HttpSource {
  /** The first place of the repository, without credentials: what errors call it. */
  readonly base: URL;
  /** Requests that may be under way at the same time; more would wait. */
  readonly maxRequests: number;
  readonly #options: HttpOptions;
  readonly #client: HttpClient;
  readonly #meta: Mirror[];
  readonly #content: Mirror[];
  readonly #preloaded: ReadonlyMap<string, Buffer>;
  readonly #forbidden = new Map<string, string>();
  readonly #headers: string;
  #closed: Error | undefined;

  /**
   * @param urls where the repository is; several in the order in which to try them
   * @param preloaded files that are there already, by path
   */
  constructor(
    urls: string | readonly string[],
    options: HttpOptions = {},
    { contentUrls, preloaded = new Map() }: HttpSourceParts = {},
  ) {
    this.#meta = [urls].flat().map(parseMirror);
    this.#content = contentUrls ? contentUrls.map(parseMirror) : this.#meta;
    this.#preloaded = preloaded;
    this.base = this.#meta[0]!.url;
    this.#options = options;
    this.#headers = headerLines({ 'User-Agent': options.userAgent ?? 'treeline', Accept: '*/*' }, options.headers);
    this.maxRequests = options.maxRequests ?? MAX_REQUESTS;
    this.#client = new HttpClient(this.base.host, {
      tls: options.tls,
      proxy: options.proxy,
      maxConnections: this.maxRequests,
      stallSeconds: options.stallSeconds ?? STALL_SECONDS,
      bytesPerSecond: options.lowSpeedBytes ?? LOW_SPEED_BYTES,
    });
    options.signal?.addEventListener('abort', this.#onAbort);
    if (options.signal?.aborted) this.#onAbort();
  }

  readonly #onAbort = () => this.close(this.#options.signal?.reason);

  /** Ends everything that is under way. */
  close(reason?: unknown): void {
    const closed = () => new OstreeError('network', `${this.base.host}: the connection was closed`, { cause: reason });
    this.#closed ??= reason instanceof Error ? reason : closed();
    this.#options.signal?.removeEventListener('abort', this.#onAbort);
    this.#client.close(this.#closed);
  }

  /**
   * Gets a file of the repository and hands the answer (200, or 206 and 416 if a Range was asked for, or 304) to
   * `consume`, again from the start when the connection breaks. Each place of the repository is tried before it is
   * waited a little and all are tried again.
   *
   * @param path below the repository, already fit for a URL
   * @param headers asked for anew at each try
   * @returns null when no place has such a file, or gives it to us (see forbidden)
   * @throws OstreeError `network` after the last try; what `consume` throws, at once
   */
  async get<T>(
    path: string,
    consume: (reply: Reply) => Promise<T>,
    headers: () => Readonly<Record<string, string>> | undefined = () => undefined,
    method: Method = 'GET',
  ): Promise<T | null> {
    const preloaded = this.#preloaded.get(path);
    if (preloaded && method === 'GET') return consume(replyOf(preloaded, `${this.base}${path}`));
    const retries = this.#options.retries ?? RETRIES;
    for (let attempt = 0; ; attempt++) {
      try {
        return await this.#anywhere(path, (mirror) => this.#attempt(mirror, path, { consume, headers, method }));
      } catch (error) {
        if (this.#closed) throw this.#closed;
        if (!(error instanceof TransientError) || attempt >= retries) throw error;
        const backOff = FIRST_WAIT_MS * 2 ** attempt * (0.75 + Math.random() / 2);
        const wait = Math.min(Math.max(backOff, error.waitMs), MAX_WAIT_MS);
        await sleep(wait, undefined, this.#options.signal ? { signal: this.#options.signal } : {});
      }
    }
  }

  /** The first answer of any place that has one. */
  async #anywhere<T>(path: string, ask: (mirror: Mirror) => Promise<T | null>): Promise<T | null> {
    const mirrors = isContent(path) ? this.#content : this.#meta;
    let failure: OstreeError | undefined;
    for (const mirror of [...mirrors]) {
      try {
        const found = await ask(mirror);
        if (found !== null) return found;
      } catch (error) {
        if (this.#closed || !(error instanceof OstreeError) || error.code !== 'network') throw error;
        // One that will be better later is worth waiting for, whatever the others said.
        if (!(failure instanceof TransientError)) failure = error;
        demote(mirrors, mirror);
      }
    }
    if (failure) throw failure;
    return null;
  }

  /**
   * What the server said ("403 Forbidden") when a file was asked for that `get` then said is not there. Object
   * stores answer so for what they do not have, too, so by itself it is no error.
   */
  forbidden(path: string): string | undefined {
    return this.#forbidden.get(path);
  }

  /**
   * A small file whole, or null when there is none. When the connection breaks, only the rest is asked for.
   *
   * @throws OstreeError `corrupt` beyond `limit` bytes
   */
  async bytes(path: string, limit: number): Promise<Buffer | null> {
    let kept: { data: Buffer; validator: string } | undefined;
    return this.get(
      path,
      async (reply) => {
        const start = kept?.data ?? Buffer.alloc(0);
        const goesOn = reply.status === 206 && reply.headers['content-range']?.startsWith(`bytes ${start.length}-`);
        if (reply.status !== 200 && !(kept && goesOn)) {
          kept = undefined;
          reply.body.discard();
          throw new TransientError(`${reply.what}: another part than was asked for`);
        }
        const before = goesOn ? start : Buffer.alloc(0);
        try {
          const rest = await readBody(reply, limit - before.length);
          return before.length > 0 ? Buffer.concat([before, rest]) : rest;
        } catch (error) {
          const validator = strongValidator(reply);
          const data = Buffer.concat([before, reply.body.taken()]);
          kept = validator === undefined || data.length === 0 ? undefined : { data, validator };
          throw error;
        }
      },
      () => kept && { Range: `bytes=${kept.data.length}-`, 'If-Range': kept.validator },
    );
  }

  /** How many bytes a file has, as far as the server says; null when there is none, or it does not say. */
  async size(path: string): Promise<number | null> {
    const length = await this.get(
      path,
      async (reply) => reply.headers['content-length'] ?? 'unknown',
      () => undefined,
      'HEAD',
    );
    return length !== null && /^\d{1,15}$/.test(length) ? Number(length) : null;
  }

  async #attempt<T>(mirror: Mirror, path: string, { consume, headers, method }: Attempt<T>): Promise<T | null> {
    if (this.#closed) throw this.#closed;
    const own = headerLines(headers() ?? {});
    const { url, authorization } = mirror;
    const target = fitForUrl(url.pathname + path) + url.search;
    const identity = this.#headers + (authorization === undefined ? '' : `Authorization: ${authorization}\r\n`);
    let where = url;
    let exchange = this.#client
      .origin(url, true)
      .send(method, target, identity + this.#cookieLine(url, target) + own, url.origin + target);
    for (let redirects = 0; ; redirects++) {
      const { answer, location } = await this.#answer(exchange, where);
      if (!location) {
        if (answer.status === 304 && !/^if-(none-match|modified-since):/im.test(own)) {
          throw refused(exchange.what, answer);
        }
        return this.#read(exchange, answer, path, consume);
      }
      if (redirects >= MAX_REDIRECTS)
        throw new OstreeError('network', `${where}: more than ${MAX_REDIRECTS} redirects`);
      where = location;
      const known = where.origin === url.origin;
      const stranger = headerLines({ 'User-Agent': this.#options.userAgent ?? 'treeline', Accept: '*/*' });
      const place = fitForUrl(where.pathname) + where.search;
      const who = (known ? identity : stranger) + this.#cookieLine(where, place);
      exchange = this.#client.origin(where, known).send(method, place, who + own, where.origin + place);
    }
  }

  #cookieLine(url: URL, path: string): string {
    const { cookies } = this.#options;
    const line = cookies && cookies.length > 0 ? cookiesFor(cookies, url, path) : '';
    return line === '' ? '' : `Cookie: ${line}\r\n`;
  }

  /** The answer, and where to go instead of reading it. */
  async #answer(exchange: Exchange, where: URL): Promise<{ answer: Answer; location?: URL }> {
    const answer = await exchange.answer;
    const location = REDIRECTS.has(answer.status) ? answer.headers.location : undefined;
    if (location === undefined) return { answer };
    giveUp(answer);
    return { answer, location: redirected(where, location) };
  }

  async #read<T>(
    exchange: Exchange,
    answer: Answer,
    path: string,
    consume: (reply: Reply) => Promise<T>,
  ): Promise<T | null> {
    const { status, reason, headers, length, body } = answer;
    const { what } = exchange;
    if (NOT_FOUND.has(status)) {
      if (status === 403) this.#forbidden.set(path, `${status} ${reason}`.trimEnd());
      giveUp(answer);
      return null;
    }
    if (status !== 200 && status !== 206 && status !== 304 && status !== 416) {
      giveUp(answer);
      throw refused(what, answer);
    }
    if ((headers['content-encoding'] ?? 'identity').toLowerCase() !== 'identity') {
      body.discard();
      throw new OstreeError('network', `${what}: the server compresses what must come as it is`);
    }
    const pause = (on: boolean) => {
      exchange.paused = on;
    };
    try {
      return await consume({ status, headers, length, body, pause, what });
    } finally {
      body.discard();
    }
  }
}

/** A file that is there as if it had just come. */
function replyOf(data: Buffer, what: string): Reply {
  const body = new Body(
    () => {},
    () => {},
  );
  body.push(data);
  body.end();
  return { status: 200, headers: {}, length: data.length, body, pause: () => {}, what };
}

export interface HttpSourceParts {
  /** Where what is named by its checksum is. Default: where everything is. */
  contentUrls?: readonly string[] | undefined;
  preloaded?: ReadonlyMap<string, Buffer> | undefined;
}

interface Attempt<T> {
  consume: (reply: Reply) => Promise<T>;
  headers: () => Readonly<Record<string, string>> | undefined;
  method: Method;
}

/** What is served from `contenturl`: objects and deltas, but not the signatures of commits. */
function isContent(path: string): boolean {
  return (path.startsWith('objects/') && !path.endsWith('.commitmeta')) || /^delta(s|-indexes)\//.test(path);
}

/** The next requests begin with another place. */
function demote(mirrors: Mirror[], failed: Mirror): void {
  const at = mirrors.indexOf(failed);
  if (mirrors.length < 2 || at < 0) return;
  mirrors.splice(at, 1);
  mirrors.push(failed);
}

/** Reads what is left of an answer if that is near, so that the connection can be used again. */
function giveUp({ length, body }: Answer): void {
  if (length !== null && length <= MAX_IDLE_BODY) body.bytes(length, '').catch(() => {});
  else body.discard();
}

/** What to send as If-Range, so that two versions of a file are never mixed. */
export function strongValidator({ headers }: Reply): string | undefined {
  const etag = headers.etag;
  if (etag !== undefined && !etag.startsWith('W/') && etag.length <= 256) return etag;
  return headers['last-modified'];
}

function parseMirror(text: string): Mirror {
  let url: URL;
  try {
    url = new URL(text);
  } catch (cause) {
    throw new OstreeError('invalid', `${JSON.stringify(text)} is not a URL`, { cause });
  }
  if (url.protocol !== 'http:' && url.protocol !== 'https:') {
    throw new OstreeError('unsupported', `${text}: can only pull from http, https and local paths`);
  }
  const authorization = basicAuthorization(url);
  url.username = '';
  url.password = '';
  if (!url.pathname.endsWith('/')) url.pathname += '/';
  url.hash = '';
  return { url, authorization };
}

/** Names of refs may hold anything but control characters. */
function fitForUrl(path: string): string {
  return /^[\x21-\x7e]*$/.test(path) ? path : encodeURI(path);
}

function redirected(from: URL, location: string): URL {
  let to: URL;
  try {
    to = new URL(location, from);
  } catch (cause) {
    throw new OstreeError('network', `${from}: redirects to something that is not a URL`, { cause });
  }
  const upgraded = from.protocol === 'http:' && to.protocol === 'https:';
  if (to.protocol !== from.protocol && !upgraded) {
    throw new OstreeError('network', `${from}: redirects to ${to.protocol}`);
  }
  to.hash = '';
  return to;
}
