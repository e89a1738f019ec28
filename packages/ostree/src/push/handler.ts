import type { IncomingMessage, ServerResponse } from 'node:http';
import { OstreeError, type OstreeErrorCode } from '../errors.ts';
import { isChecksum } from '../formats/object-name.ts';
import { PushConflict } from './conflict.ts';
import type { FinishResult, RefMove } from './finish.ts';
import { decodeObjectList, encodeObjectList, encodeObjectStates, OBJECT_ID_BYTES } from './object-list.ts';
import type { PushReceiver } from './receiver.ts';

/*
 * Pushing over HTTP, below any path:
 *
 *   POST   open          {ref, commit}               {protocol, id, current}
 *   POST   <id>/missing  list of objects             where each stands (object-list.ts)
 *   POST   <id>/pack     pack (pack.ts)              {objects, bytes} that were new
 *   POST   <id>/finish   {expect, force, also?}      {state: "moved", from} | {state: "incomplete", missing}
 *   DELETE <id>                                      204
 *
 * `expect` is what the sender thinks the ref holds, null for no such ref; when it holds something else the answer is
 * 409 with `error.data.current`. `missing` is a list of objects in base64. Errors are {error: {code, message, hint?}}.
 * An answer that takes long begins with blanks, so that proxies do not give up on it; then its status is 200 in any
 * case, and only its body says whether it is an error.
 */

/** Who sends, and what he may do. */
export interface PushCaller {
  /** A push belongs to whoever began it. */
  name: string;
  /** Throws what is to be answered if he may not. `force` is asked for in addition to `push`. */
  demand(action: 'push' | 'force', ref: string): void;
}

/** How a receiver is served. */
export interface PushHandlerOptions {
  /** Finds out who sends a request; throws what is to be answered when nobody may. */
  caller: (request: IncomingMessage) => PushCaller | Promise<PushCaller>;
  /** Does the move of a ref by calling `apply`, and writes it down. */
  record?: (caller: PushCaller, move: RefMove, apply: () => Promise<void>) => Promise<void>;
  /** How an error is answered. Default: OstreeErrors with their code, all others as `internal`. */
  answer?: (error: unknown) => PushErrorAnswer;
}

/** An error as it is answered. */
export interface PushErrorAnswer {
  status: number;
  /** What goes with it, such as `retry-after`. Lost when the answer has begun. */
  headers?: Record<string, string>;
  error: { code: string; message: string; hint?: string; data?: unknown; [key: string]: unknown };
}

/** Answers a request for a path below that of the receiver. */
export type PushHandler = (request: IncomingMessage, response: ServerResponse, path: string) => Promise<void>;

const PROTOCOL = 1;
const MAX_JSON_BYTES = 256 * 1024;
/** As many objects as one may ask for at once. */
export const MAX_OBJECTS_ASKED = 65_536;
/** A sender begins another pack long before. */
const MAX_PACK_BYTES = 2 * 1024 ** 3;
const MAX_ALSO = 1000;
/** After so long of silence an answer is begun. */
const PATIENCE_MS = 10_000;
const LINGER_MS = 5000;

/** Serves a receiver over node:http. Never rejects. */
export function pushHandler(receiver: PushReceiver, options: PushHandlerOptions): PushHandler {
  const answerOf = options.answer ?? pushErrorAnswer;
  return async (request, response, path) => {
    const answer = new Answer(response);
    try {
      const caller = await options.caller(request);
      await route({ receiver, options, request, answer, caller }, path);
    } catch (error) {
      const { status, headers, error: body } = answerOf(error);
      answer.json(status, { error: body }, headers);
      linger(request, response);
    }
  };
}

/** The error of the engine as an answer. */
export function pushErrorAnswer(error: unknown): PushErrorAnswer {
  if (!(error instanceof OstreeError)) {
    return { status: 500, error: { code: 'internal', message: 'the receiving side failed' } };
  }
  const { code, message, hint } = error;
  const status = STATUS[code];
  if (status === undefined) return { status: 500, error: { code, message: 'the receiving side failed' } };
  // What there is room for, and where, is nobody else's business.
  if (code === 'no-space') return { status, error: { code, message } };
  const data = error instanceof PushConflict ? { data: { current: error.current } } : {};
  return { status, error: { code, message, ...(hint === undefined ? {} : { hint }), ...data } };
}

const STATUS: Partial<Record<OstreeErrorCode, number>> = {
  'not-found': 404,
  exists: 409,
  conflict: 409,
  corrupt: 422,
  invalid: 400,
  unsupported: 422,
  forbidden: 403,
  'no-space': 507,
};

interface Call {
  receiver: PushReceiver;
  options: PushHandlerOptions;
  request: IncomingMessage;
  answer: Answer;
  caller: PushCaller;
}

async function route(call: Call, path: string): Promise<void> {
  const { receiver, request, answer, caller } = call;
  const [, id = '', what] = /^\/?([0-9a-z]{4,32})(?:\/([a-z]+))?$/.exec(path) ?? [];
  const operation = `${request.method} ${what ?? (id === 'open' ? 'open' : '')}`.trim();
  if (operation === 'POST open' && what === undefined) return open(call);
  if (operation === 'POST missing') return missing(call, id);
  if (operation === 'POST finish') return finish(call, id);
  if (operation === 'POST pack') {
    const cut = new AbortController();
    const end = () => cut.abort(new OstreeError('network', 'the connection was closed'));
    answer.onClose(end);
    const pack = limited(request, MAX_PACK_BYTES);
    return answer.later(receiver.receive(id, caller.name, pack, cut.signal), () => request.complete);
  }
  if (operation === 'DELETE') {
    await receiver.abandon(id, caller.name);
    return answer.empty(204);
  }
  throw new OstreeError('not-found', `there is nothing at ${request.method} ${path.slice(0, 100)}`);
}

async function open({ receiver, request, answer, caller }: Call): Promise<void> {
  const { ref, commit } = await readJson(request);
  if (typeof ref !== 'string' || ref.length > 1024)
    throw new OstreeError('invalid', '`ref` is to be the name of a ref');
  if (typeof commit !== 'string' || !isChecksum(commit)) {
    throw new OstreeError('invalid', '`commit` is to be the checksum of a commit');
  }
  caller.demand('push', ref);
  answer.json(200, { protocol: PROTOCOL, ...(await receiver.open({ owner: caller.name, ref, commit })) });
}

async function missing({ receiver, request, answer, caller }: Call, id: string): Promise<void> {
  const objects = decodeObjectList(await readBody(request, MAX_OBJECTS_ASKED * OBJECT_ID_BYTES));
  answer.bytes(encodeObjectStates(await receiver.missing(id, caller.name, objects)));
}

async function finish({ receiver, options, request, answer, caller }: Call, id: string): Promise<void> {
  const { expect, force = false, also = [] } = await readJson(request);
  const isSound =
    (expect === null || (typeof expect === 'string' && isChecksum(expect))) &&
    typeof force === 'boolean' &&
    Array.isArray(also) &&
    also.length <= MAX_ALSO &&
    also.every((one) => typeof one === 'string' && isChecksum(one));
  if (!isSound) {
    throw new OstreeError(
      'invalid',
      '`expect` is to be a checksum or null, `force` a boolean, `also` a list of commits',
    );
  }
  const { ref, commit } = await receiver.identityOf(id, caller.name);
  if (ref === null || commit === null) throw new OstreeError('invalid', 'this push has another protocol');
  caller.demand('push', ref);
  if (force) caller.demand('force', ref);
  const { record } = options;
  const wish = { ref, commit, expect: expect, force, also: also as string[] };
  const finishing = receiver.finish(id, caller.name, wish, record && ((move, apply) => record(caller, move, apply)));
  await answer.later(finishing.then((result) => describe(result, ref)));
}

/** What is answered to the end of a push. Throws for a conflict. */
function describe(result: FinishResult, ref: string): object {
  if (result.state === 'conflict') throw new PushConflict(ref, result.current);
  if (result.state === 'moved') return result;
  return { state: result.state, missing: encodeObjectList(result.missing).toString('base64') };
}

/** An answer that may be long in coming. */
class Answer {
  readonly #response: ServerResponse;
  #begun = false;

  constructor(response: ServerResponse) {
    this.#response = response;
  }

  onClose(listener: () => void): void {
    this.#response.once('close', listener);
  }

  /**
   * Answers with what a promise gives; what it throws is thrown.
   *
   * @param mayBegin whether the request has been read: an answer before that would be one to a part of it
   */
  async later(work: Promise<object>, mayBegin: () => boolean = () => true): Promise<void> {
    const timer = setInterval(() => {
      if (!mayBegin()) return;
      if (!this.#begun) this.#begin(200);
      this.#response.write(' ');
    }, PATIENCE_MS);
    try {
      this.json(200, await work);
    } finally {
      clearInterval(timer);
    }
  }

  #begin(status: number, headers: Record<string, string | number> = {}): void {
    this.#begun = true;
    this.#response.writeHead(status, {
      'content-type': 'application/json',
      'cache-control': 'no-store',
      'x-content-type-options': 'nosniff',
      ...headers,
    });
  }

  json(status: number, value: object, headers: Record<string, string> = {}): void {
    const body = Buffer.from(JSON.stringify(value));
    if (!this.#begun) this.#begin(status, { 'content-length': body.length, ...headers });
    this.#response.end(body);
  }

  bytes(body: Buffer): void {
    this.#begin(200, { 'content-type': 'application/octet-stream', 'content-length': body.length });
    this.#response.end(body);
  }

  empty(status: number): void {
    this.#response.writeHead(status, { 'cache-control': 'no-store' }).end();
  }
}

/** Reads what still comes for a while: a sender who is cut off in the middle never sees the answer. */
function linger(request: IncomingMessage, response: ServerResponse): void {
  if (request.complete || request.destroyed) return;
  request.resume();
  const timer = setTimeout(() => request.destroy(), LINGER_MS);
  timer.unref();
  request.once('close', () => clearTimeout(timer));
  response.once('error', () => request.destroy());
}

async function* limited(request: IncomingMessage, most: number): AsyncGenerator<Buffer> {
  let bytes = 0;
  for await (const chunk of request.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    if (bytes > most) throw new OstreeError('invalid', `a request of more than ${most} bytes`);
    yield chunk;
  }
}

async function readBody(request: IncomingMessage, most: number): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of limited(request, most)) chunks.push(chunk);
  return Buffer.concat(chunks);
}

async function readJson(request: IncomingMessage): Promise<Record<string, unknown>> {
  let value: unknown;
  try {
    value = JSON.parse((await readBody(request, MAX_JSON_BYTES)).toString('utf8'));
  } catch (error) {
    if (error instanceof OstreeError) throw error;
    throw new OstreeError('invalid', 'the body of the request is no JSON', { cause: error });
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new OstreeError('invalid', 'the body of the request is no JSON object');
  }
  return value as Record<string, unknown>;
}
