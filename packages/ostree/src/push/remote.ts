import type { ClientRequest, Agent as HttpAgent, IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';
import { OstreeError, type OstreeErrorCode } from '../errors.ts';
import { isChecksum } from '../formats/object-name.ts';
import { Dialler, type TlsOptions } from '../http/dial.ts';
import { networkError, TransientError } from '../http/errors.ts';
import { Agent, request } from '../http/node-http.ts';
import { proxyFor } from '../http/proxy.ts';
import { headerLines } from '../http/request-headers.ts';
import { PushConflict } from './conflict.ts';

/** How the receiving side is reached. */
export interface PushRemoteOptions {
  tls?: TlsOptions | undefined;
  /** Sent with every request, for example `Authorization`. */
  headers?: Readonly<Record<string, string>> | undefined;
  /** An HTTP proxy, `http://[user:password@]host:port`. Default: what http_proxy, https_proxy and no_proxy say. */
  proxy?: string | undefined;
  /** A connection on which nothing moves for so long is given up. Default 60. */
  stallSeconds?: number | undefined;
  signal?: AbortSignal | undefined;
}

const STALL_SECONDS = 60;
const MAX_ANSWER_BYTES = 16 * 1024 * 1024;
const USER_AGENT = 'treeline';

interface Sent {
  method: 'POST' | 'DELETE';
  /** Below the address of the receiver. */
  path: string;
  body: Buffer | AsyncIterable<Buffer>;
  type: string;
  /** Told of bytes as they go out. */
  onSent?: ((bytes: number) => void) | undefined;
}

/** Requests to the receiving side of a push. It tries nothing again. Close it, or its connections keep the process alive. */
export class PushRemote {
  readonly url: URL;
  readonly #agent: HttpAgent;
  readonly #dialler: Dialler;
  readonly #headers: Record<string, string>;
  readonly #options: PushRemoteOptions;
  readonly #closing = new AbortController();

  /** @throws OstreeError `invalid` for what is no address, or no header */
  constructor(url: string, options: PushRemoteOptions = {}) {
    this.#options = options;
    this.url = parseUrl(url);
    const { username, password } = this.url;
    this.url.username = '';
    this.url.password = '';
    headerLines(options.headers); // throws for what cannot be one
    const basic = Buffer.from(`${decodeURIComponent(username)}:${decodeURIComponent(password)}`).toString('base64');
    this.#headers = {
      'user-agent': USER_AGENT,
      host: this.url.host,
      ...(username === '' ? {} : { authorization: `Basic ${basic}` }),
      ...options.headers,
    };
    const dialler = new Dialler(this.url, { tls: options.tls ?? {}, proxy: proxyFor(this.url, options.proxy) });
    this.#dialler = dialler;
    const { signal } = this.#closing;
    this.#agent = new DiallingAgent(() => dialler.openSocket(signal));
  }

  close(): void {
    this.#closing.abort(new OstreeError('network', `${this.url.host}: the connection was closed`));
    this.#agent.destroy();
  }

  /** Sends JSON and reads JSON. */
  async json(method: 'POST' | 'DELETE', path: string, value?: object): Promise<Record<string, unknown>> {
    const body = value === undefined ? Buffer.alloc(0) : Buffer.from(JSON.stringify(value));
    return this.#parse(await this.#send({ method, path, body, type: 'application/json' }), path);
  }

  /** Sends bytes and reads bytes. */
  async bytes(path: string, body: Buffer): Promise<Buffer> {
    return this.#send({ method: 'POST', path, body, type: 'application/octet-stream' });
  }

  /** Sends a stream and reads JSON. */
  async stream(
    path: string,
    body: AsyncIterable<Buffer>,
    onSent: (bytes: number) => void,
  ): Promise<Record<string, unknown>> {
    const type = 'application/octet-stream';
    return this.#parse(await this.#send({ method: 'POST', path, body, type, onSent }), path);
  }

  #parse(body: Buffer, path: string): Record<string, unknown> {
    if (body.length === 0) return {};
    let value: unknown;
    try {
      value = JSON.parse(body.toString('utf8'));
    } catch (cause) {
      throw this.#notUnderstood(path, cause);
    }
    if (typeof value !== 'object' || value === null) throw this.#notUnderstood(path);
    // What was answered before it was known that it would be an error has another status.
    if ('error' in value) throw this.#refused(path, 200, body);
    return value as Record<string, unknown>;
  }

  #notUnderstood(path: string, cause?: unknown): OstreeError {
    return new OstreeError('network', `${this.url}${path}: the answer is not what a receiver of pushes answers`, {
      cause,
      hint: 'Check the address: is it that of a Treeline server, and does nothing in between answer in its place?',
    });
  }

  async #send(sent: Sent): Promise<Buffer> {
    const { signal, stallSeconds = STALL_SECONDS } = this.#options;
    signal?.throwIfAborted();
    const what = `${this.url}${sent.path}`;
    const { method, body, type } = sent;
    const length = Buffer.isBuffer(body)
      ? { 'content-length': String(body.length) }
      : { 'transfer-encoding': 'chunked' };
    const target = this.url.pathname + sent.path;
    const proxy = this.#dialler.authorization;
    const outgoing = request({
      agent: this.#agent,
      method,
      path: this.#dialler.isForwarded ? this.url.origin + target : target,
      setHost: false,
      headers: {
        ...this.#headers,
        ...(proxy === undefined ? {} : { 'proxy-authorization': proxy }),
        'content-type': type,
        ...length,
      },
    });
    const stalled = () => outgoing.destroy(new TransientError(`${what}: nothing moved for ${stallSeconds} s`));
    outgoing.setTimeout(1000 * stallSeconds, stalled);
    const abort = () => outgoing.destroy(signal!.reason as Error);
    signal?.addEventListener('abort', abort);
    const answered = answerOf(outgoing);
    answered.catch(() => {}); // looked at below
    try {
      await write(outgoing, answered, sent);
      const answer = await answered;
      const data = await readAnswer(answer, what);
      const status = answer.statusCode ?? 0;
      if (status >= 200 && status < 300) return data;
      throw this.#refused(sent.path, status, data);
    } catch (error) {
      outgoing.destroy();
      signal?.throwIfAborted();
      throw networkError(what, error);
    } finally {
      signal?.removeEventListener('abort', abort);
    }
  }

  /** An answer that is an error, as one of ours. */
  #refused(path: string, status: number, body: Buffer): OstreeError {
    let told: { code?: unknown; message?: unknown; hint?: unknown; data?: { current?: unknown } | undefined } = {};
    try {
      told = (JSON.parse(body.toString('utf8')) as { error?: typeof told }).error ?? {};
    } catch {
      // not from a receiver
    }
    const message = typeof told.message === 'string' ? told.message : `${this.url}${path}: the answer is ${status}`;
    const hint = typeof told.hint === 'string' ? { hint: told.hint } : {};
    const current = told.data?.current;
    if (told.code === 'conflict' && (current === null || (typeof current === 'string' && isChecksum(current)))) {
      return new PushConflict('', current, message);
    }
    // The receiver does not know this push any more, or another connection goes on with it: both are for asking again.
    const isOfSession = path !== 'open' && (told.code === 'not-found' || told.code === 'conflict');
    if (isOfSession || status === 408 || status === 429 || (status >= 500 && status !== 501 && status !== 507)) {
      return new TransientError(message, hint);
    }
    if (status >= 300 && status < 400) {
      return new OstreeError('network', `${this.url}${path}: the answer leads elsewhere (${status})`, {
        hint: 'Give the address that it leads to.',
      });
    }
    if (status === 404 && told.code === undefined) return this.#notUnderstood(path);
    return new OstreeError(codeOf(status, told.code), message, hint);
  }
}

const OWN_CODES = new Set<unknown>([
  'not-found',
  'exists',
  'corrupt',
  'invalid',
  'unsupported',
  'conflict',
  'no-space',
]);

function codeOf(status: number, told: unknown): OstreeErrorCode {
  if (status === 401 || status === 403) return 'forbidden';
  if (OWN_CODES.has(told)) return told as OstreeErrorCode;
  if (status === 404) return 'not-found';
  if (status === 409) return 'conflict';
  if (status === 507) return 'no-space';
  return status === 400 || status === 413 || status === 422 ? 'invalid' : 'network';
}

function parseUrl(text: string): URL {
  const url = URL.canParse(text) ? new URL(text) : null;
  if (!url || (url.protocol !== 'http:' && url.protocol !== 'https:')) {
    throw new OstreeError('invalid', `${JSON.stringify(text)} is not the address of a receiver of pushes`, {
      hint: 'It is like https://treeline.example.org/api/v1/push/',
    });
  }
  if (!url.pathname.endsWith('/')) url.pathname += '/';
  url.search = '';
  url.hash = '';
  return url;
}

/** Connections as the rest of this package makes them: its proxies, its trust. */
class DiallingAgent extends Agent {
  readonly #dial: () => Promise<Duplex>;

  constructor(dial: () => Promise<Duplex>) {
    super({ keepAlive: true, maxSockets: 16 });
    this.#dial = dial;
  }

  override createConnection(_: unknown, done?: (error: Error | null, stream: Duplex) => void): undefined {
    this.#dial().then(
      (stream) => done?.(null, stream),
      (error: unknown) => done?.(error as Error, undefined as never),
    );
    return undefined;
  }
}

function answerOf(outgoing: ClientRequest): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    outgoing.on('response', resolve);
    outgoing.on('error', reject);
    outgoing.on('close', () => reject(new TransientError('the connection was closed without an answer')));
  });
}

/** Sends the body, unless a refusal comes before that: then nobody wants the rest. */
async function write(
  outgoing: ClientRequest,
  answered: Promise<IncomingMessage>,
  { body, onSent }: Sent,
): Promise<void> {
  if (Buffer.isBuffer(body)) {
    outgoing.end(body);
    return;
  }
  let over = false;
  const stop = () => {
    over = true;
  };
  answered.then(({ statusCode = 0 }) => (statusCode >= 300 ? stop() : undefined), stop);
  for await (const chunk of body) {
    if (over) break;
    if (!outgoing.write(chunk)) {
      const drained = new Promise<void>((resolve) => void outgoing.once('drain', resolve));
      await Promise.race([drained, answered.catch(() => {})]);
    }
    onSent?.(chunk.length);
  }
  outgoing.end();
}

async function readAnswer(answer: IncomingMessage, what: string): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let length = 0;
  for await (const chunk of answer as AsyncIterable<Buffer>) {
    chunks.push(chunk);
    length += chunk.length;
    if (length > MAX_ANSWER_BYTES) throw new OstreeError('network', `${what}: an answer of absurd length`);
  }
  return Buffer.concat(chunks, length);
}
