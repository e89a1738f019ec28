import { CliError } from '../errors.ts';
import { slowWork } from '../output/progress.ts';
import { oneLine, shorten } from '../output/text.ts';
import { fetchWithCertificate } from './certificates.ts';
import { upCommand } from './folder.ts';
import type { Connection } from './server.ts';

/** An answer that takes longer than this is given up; streams only have to begin in this time. */
const answerTimeout = 30_000;
/** The same for what the server does before it answers: its git commands may take 5 minutes. */
const workTimeout = 330_000;
/** No answer of the API comes near this; more is junk, and is not read into memory. */
const maximumAnswer = 64 * 1024 * 1024;

export type Query = Record<string, string | number | boolean | undefined>;

/** The REST API of one server. Every method throws CliError; `signal` ends whatever waits. */
export type Client = {
  readonly connection: Connection;
  /** `METHOD path` of the last JSON answer; undefined before there was one. */
  readonly lastAnswer: string | undefined;
  /** GET of a JSON document. */
  get<T>(path: string, query?: Query, options?: CallOptions): Promise<T>;
  /** A change, with a JSON answer; null when the server answers 204. */
  send<T>(method: 'POST' | 'PUT' | 'PATCH' | 'DELETE', path: string, body?: unknown, options?: CallOptions): Promise<T>;
  /** GET of a stream, chunk by chunk as it arrives. */
  stream(path: string, options?: { query?: Query; headers?: Record<string, string> }): AsyncGenerator<Uint8Array>;
};

/** `work`: what the server does before it answers, as a word for people; such an answer may take minutes. */
export type CallOptions = { work?: string };

type Asked = { query?: Query; body?: unknown; accept?: string; headers?: Record<string, string>; work?: string };

/** A client for a server that was found; nothing is sent yet. */
export function createClient(connection: Connection, options: { signal: AbortSignal; timeout?: number }): Client {
  const { signal, timeout = answerTimeout } = options;
  let lastAnswer: string | undefined;

  async function ask(method: string, path: string, o: Asked) {
    const patience = o.work ? Math.max(timeout, workTimeout) : timeout;
    const url = new URL(`api/v1/${path}`, connection.url);
    for (const [name, value] of Object.entries(o.query ?? {})) {
      if (value !== undefined) url.searchParams.set(name, String(value));
    }
    const tooSlow = new AbortController();
    const timer = setTimeout(() => tooSlow.abort(), patience);
    try {
      const init = {
        method,
        headers: {
          accept: o.accept ?? 'application/json',
          ...(connection.token ? { authorization: `Bearer ${connection.token}` } : {}),
          ...(o.body === undefined ? {} : { 'content-type': 'application/json' }),
          ...o.headers,
        },
        ...(o.body === undefined ? {} : { body: JSON.stringify(o.body) }),
        signal: AbortSignal.any([signal, tooSlow.signal]),
      };
      const { certificate } = connection;
      const response =
        certificate && url.protocol === 'https:'
          ? await fetchWithCertificate(url, init, certificate)
          : await fetch(url, { ...init, redirect: 'error' });
      if (!response.ok) throw refusal(await readText(response), response, `${method} ${path}`);
      return { response, finish: () => clearTimeout(timer), lateBy: () => (tooSlow.signal.aborted ? patience : null) };
    } catch (error) {
      clearTimeout(timer);
      throw transportError(error, tooSlow.signal.aborted ? patience : null);
    }
  }

  /** `patience`: how long was waited for an answer that did not come; null when something else went wrong. */
  function transportError(error: unknown, patience: number | null): unknown {
    if (error instanceof CliError) return error;
    if (signal.aborted) return new CliError('interrupted', 'Interrupted.', { cause: error });
    const where = connection.url.origin;
    if (patience !== null) {
      return new CliError('unreachable', `The server at ${where} did not answer within ${patience / 1000} s.`, {
        cause: error,
        hint: 'It may be overloaded or hang: try again, or look at the terminal where it runs.',
      });
    }
    const { code, reason } = causeOf(error);
    const distrust = code === undefined ? undefined : certificateHints[code];
    if (distrust !== undefined) {
      return new CliError('unreachable', `The server at ${where} cannot be trusted: ${reason}.`, {
        cause: error,
        hint: distrust,
      });
    }
    const hint = connection.folder
      ? `It is not running any more. Start it with: ${upCommand(connection.folder)}`
      : 'Check the address and that the server runs there (treeline up).';
    const what = code === 'ECONNREFUSED' ? 'nothing listens there' : reason;
    return new CliError('unreachable', `The server at ${where} cannot be reached: ${what}.`, { cause: error, hint });
  }

  async function json<T>(method: string, path: string, o: Asked): Promise<T> {
    const progress = o.work ? slowWork(o.work) : null;
    try {
      const { response, finish, lateBy } = await ask(method, path, o);
      let text: string;
      try {
        text = await readText(response);
      } catch (error) {
        throw transportError(error, lateBy());
      } finally {
        finish();
      }
      if (response.status === 204 && text === '') return null as T;
      lastAnswer = `${method} ${path}`;
      return parseAnswer<T>(text, response, lastAnswer);
    } finally {
      progress?.close();
    }
  }

  return {
    connection,
    get lastAnswer() {
      return lastAnswer;
    },
    get: (path, query = {}, o = {}) => json('GET', path, { query, ...o }),
    send: (method, path, body, o = {}) => json(method, path, { body, ...o }),
    async *stream(path, { query = {}, headers = {} } = {}) {
      const { response, finish } = await ask('GET', path, { query, headers, accept: '*/*' });
      finish();
      if (!response.body) return;
      try {
        for await (const chunk of response.body) yield chunk as Uint8Array;
      } catch (error) {
        throw transportError(error, null);
      }
    },
  };
}

const unknownAuthority = 'If its authority is your own: --ca FILE (its certificate, in PEM), or TREELINE_CA.';
const certificateHints: Readonly<Record<string, string>> = {
  DEPTH_ZERO_SELF_SIGNED_CERT: unknownAuthority,
  SELF_SIGNED_CERT_IN_CHAIN: unknownAuthority,
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: unknownAuthority,
  UNABLE_TO_GET_ISSUER_CERT: unknownAuthority,
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: unknownAuthority,
  CERT_HAS_EXPIRED: 'Its certificate has to be renewed.',
  ERR_TLS_CERT_ALTNAME_INVALID: 'Call the server by a name that is in its certificate.',
};

/** The text of a stream of UTF-8, whatever the chunks cut. */
export async function* decodeText(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<string> {
  const decoder = new TextDecoder();
  for await (const chunk of chunks) yield decoder.decode(chunk, { stream: true });
  yield decoder.decode();
}

async function readText(response: Response): Promise<string> {
  const decoder = new TextDecoder();
  let text = '';
  let bytes = 0;
  for await (const chunk of response.body ?? []) {
    bytes += (chunk as Uint8Array).byteLength;
    if (bytes > maximumAnswer) {
      throw new CliError('server', `The server's answer is larger than ${maximumAnswer / 1024 / 1024} MiB.`, {
        hint: 'Is this the address of a Treeline server?',
      });
    }
    text += decoder.decode(chunk as Uint8Array, { stream: true });
  }
  return text + decoder.decode();
}

function parseAnswer<T>(text: string, response: Response, what: string): T {
  try {
    const value: unknown = JSON.parse(text);
    if (typeof value === 'object' && value !== null) return value as T;
  } catch {}
  throw notUnderstood(text, response, what);
}

function notUnderstood(text: string, response: Response, what: string): CliError {
  const type = response.headers.get('content-type')?.split(';')[0] ?? 'no type';
  const begin = shorten(oneLine(text.slice(0, 400)).trim(), 60);
  return new CliError('server', `The answer to ${what} was not understood: ${type}, "${begin}".`, {
    hint: `Is ${new URL(response.url).origin} the address of a Treeline server, and of the same version? A proxy may answer in its place.`,
  });
}

/** A status of 400 and above as an error: the server's own words when there are some. */
function refusal(text: string, response: Response, what: string): CliError {
  const { status } = response;
  let error: { code?: unknown; message?: unknown; hint?: unknown; requestId?: unknown } | undefined;
  try {
    error = (JSON.parse(text) as { error?: typeof error } | null)?.error;
  } catch {}
  if (typeof error?.message !== 'string') {
    if (status === 401 || status === 403) return new CliError('not-allowed', `The server refused ${what} (${status}).`);
    return notUnderstood(`${status} ${text}`, response, what);
  }
  const requestId = typeof error.requestId === 'string' ? error.requestId : undefined;
  const hint = typeof error.hint === 'string' ? error.hint : statusHint(status, requestId);
  return new CliError(codeOfStatus(status), tidy(error.message), {
    hint: hint && tidy(hint),
    server: { code: typeof error.code === 'string' ? error.code : String(status), ...(requestId ? { requestId } : {}) },
  });
}

function codeOfStatus(status: number): CliError['code'] {
  if (status === 401 || status === 403 || status === 429) return 'not-allowed';
  if (status === 404 || status === 410) return 'not-found';
  if (status === 409 || status === 412) return 'conflict';
  if (status === 400 || status === 413 || status === 422) return 'usage';
  if (status === 502 || status === 503 || status === 504) return 'unreachable';
  return status >= 500 ? 'server' : 'failed';
}

function statusHint(status: number, requestId: string | undefined): string | undefined {
  if (status === 401)
    return 'Pass the token with --token or TREELINE_TOKEN; the first start of the server wrote it to admin-token in its data folder.';
  if (status >= 500 && requestId) return `The server's log says more; look for request ${requestId}.`;
  return undefined;
}

/** Messages may have several lines (a diagnostic with its caret), but no control characters. */
function tidy(text: string): string {
  return text
    .slice(0, 8000)
    .replace(/[^\P{Cc}\n\t]/gu, '\ufffd')
    .trimEnd();
}

function causeOf(error: unknown): { code: string | undefined; reason: string } {
  let cause: unknown = error;
  while (cause instanceof Error && cause.cause instanceof Error) cause = cause.cause;
  const { code } = cause as NodeJS.ErrnoException;
  const message = cause instanceof Error && cause.message ? cause.message : String(code ?? cause);
  return { code, reason: oneLine(message) };
}
