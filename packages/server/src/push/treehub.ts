import type { IncomingMessage, ServerResponse } from 'node:http';
import {
  type Checksum,
  encodePack,
  isChecksum,
  isRefName,
  type ObjectId,
  type PackPiece,
  type PushReceiver,
  readRef,
  repositoryHandler,
} from '@treeline/ostree';
import type { Authenticator } from '../access/authenticator.ts';
import { type Caller, demand } from '../access/caller.ts';
import type { Core } from '../core.ts';
import { ServerError } from '../errors.ts';
import { answerOf } from './answers.ts';
import { fileOf } from './form-file.ts';
import { recordMove } from './record.ts';
import { pushCaller } from './refs.ts';

/*
 * treehub's protocol, so that garage-push and garage-deploy push here when they are given another address:
 *
 *   HEAD objects/XX/….ext      200 there, 404 not
 *   POST objects/XX/….ext      the object, or a form with it as `file`: 204 taken in, 409 there already
 *   POST refs/heads/NAME       the commit; with `x-ats-ostree-force: true` whatever the ref holds: 204
 *   GET  config, objects/…, refs/heads/…
 *
 * What garage-push does (aktualizr, src/sota_tools): it asks for the commit first and goes down where the answer is
 * 404, sends children before parents, up to 30 requests at a time, takes 204 and 409 for success, and sends the ref
 * last. Every request has `x-ats-ostree-force: true`. A commit's detached metadata is one of its children, if there is
 * any. What is answered with anything but 200 and 404, or 204 and 409, it tries again for half a minute. It takes what is there to be whole: what is not is therefore
 * denied once a ref could not be moved (see brokenObjects), so that the next try sends the rest.
 */

/** The address that a credentials.zip holds is the server's with one of these. */
const PREFIXES = ['/treehub/api/v3/', '/treehub/api/v2/', '/treehub/', '/api/v3/', '/api/v2/'];
const OBJECT = /^objects\/([0-9a-f]{2})\/([0-9a-f]{62})\.(commit|dirtree|dirmeta|filez|commitmeta)$/;
const REF = /^refs\/(?:heads\/)?(.+)$/;
const FORCE_HEADERS = ['x-ats-ostree-force', 'x-ostree-force'];
/** garage-push shows headers (with `--loglevel 0`, as Yocto runs it), but never what the answer to a ref says. */
const REASON_HEADER = 'x-treeline-reason';
const MAX_REF_BODY = 1024;
/** Longer histories are not looked through for what a ref holds. */
const MAX_PARENTS = 10_000;

export interface TreehubDeps {
  core: Core;
  receiver: PushReceiver;
  authenticator: Authenticator;
}

/** @returns a handler that says whether the request was its own; the answer is then on its way. */
export function treehubMount(deps: TreehubDeps): (req: IncomingMessage, res: ServerResponse) => boolean {
  const files = repositoryHandler(deps.core.store.path, { private: true });
  return (req, res) => {
    const url = (req.url ?? '/').split('?', 1)[0]!;
    const prefix = PREFIXES.find((one) => url.startsWith(one));
    if (prefix === undefined) return false;
    const path = url.slice(prefix.length);
    void answer({ ...deps, files, req, res }, path);
    return true;
  };
}

/** Why something was refused, on one line, in what a header may hold. */
function lineOf({ message, hint }: { message: string; hint?: string }): string {
  const text = hint === undefined ? message : `${message}. ${hint}`;
  return text.replace(/[^\x20-\x7e]+/g, '?').slice(0, 500);
}

interface Call extends TreehubDeps {
  files: ReturnType<typeof repositoryHandler>;
  req: IncomingMessage;
  res: ServerResponse;
}

async function answer(call: Call, path: string): Promise<void> {
  const { req, res, core } = call;
  try {
    const caller = call.authenticator.authenticate(req, { basic: true });
    // As for pushes in general: what is there need not be sent, so it must be what the caller may read.
    demand(caller, 'read');
    await route(call, caller, path);
  } catch (error) {
    const { status, headers, error: body } = answerOf(error, core.log);
    if (!res.headersSent) {
      const reason = { [REASON_HEADER]: lineOf(body) };
      const type = { 'content-type': 'application/json', 'cache-control': 'no-store' };
      res.writeHead(status, { ...type, ...reason, ...headers });
    }
    res.end(req.method === 'HEAD' ? undefined : JSON.stringify({ error: body }));
    req.resume(); // a sender that is cut off never sees the answer
  }
}

async function route(call: Call, caller: Caller, path: string): Promise<void> {
  const { req, res, files } = call;
  const object = objectOf(path);
  const ref = REF.exec(path)?.[1];
  if (req.method === 'HEAD' && object) return look(call, caller, object);
  if (req.method === 'POST' && object) return takeObject(call, caller, object);
  if (req.method === 'POST' && ref !== undefined) return moveRef(call, caller, decodeRef(ref));
  if (req.method === 'GET' || req.method === 'HEAD') return files(req, res, `/${path}`);
  throw new ServerError('not-found', `there is nothing at ${req.method} ${path.slice(0, 200)}`);
}

function objectOf(path: string): ObjectId | null {
  const [, start, rest, extension] = OBJECT.exec(path) ?? [];
  if (start === undefined || rest === undefined) return null;
  const type = extension === 'filez' ? 'file' : (extension as Exclude<ObjectId['type'], 'file'>);
  return { type, checksum: start + rest };
}

function decodeRef(text: string): string {
  let ref: string | null = null;
  try {
    ref = decodeURIComponent(text);
  } catch {
    // not a name
  }
  if (ref !== null && ref.length <= 1024 && isRefName(ref)) return ref;
  throw new ServerError('invalid-request', `${JSON.stringify(text.slice(0, 200))} cannot be the name of a ref`);
}

/** All that a caller sends in this protocol is one session: nothing in it says what belongs together. */
async function sessionOf({ receiver }: Call, caller: Caller): Promise<string> {
  demand(caller, 'push');
  return (await receiver.open({ owner: caller.name, ref: null, commit: null })).id;
}

async function look(call: Call, caller: Caller, object: ObjectId): Promise<void> {
  const id = await sessionOf(call, caller);
  const [state] = await call.receiver.missing(id, caller.name, [object]);
  finishEmpty(call, state === 'stored' || state === 'received' ? 200 : 404);
}

async function takeObject(call: Call, caller: Caller, object: ObjectId): Promise<void> {
  const { req, res, receiver } = call;
  const id = await sessionOf(call, caller);
  if (await receiver.has(id, caller.name, object)) {
    receiver.mend(id, caller.name, object);
    req.resume();
    return finishEmpty(call, 409);
  }
  const cut = new AbortController();
  res.once('close', () => cut.abort());
  await receiver.receive(id, caller.name, encodePack(pieces(object, fileOf(req))), cut.signal);
  receiver.mend(id, caller.name, object);
  finishEmpty(call, 204);
}

/** An object whose length is known when its bytes have come. */
async function* pieces(object: ObjectId, chunks: AsyncIterable<Buffer>): AsyncGenerator<PackPiece[]> {
  let offset = 0;
  let held: Buffer | null = null;
  for await (const chunk of chunks) {
    if (chunk.length === 0) continue;
    if (held) {
      yield [{ ...object, total: null, offset, data: held }];
      offset += held.length;
    }
    held = chunk;
  }
  if (!held) throw new ServerError('invalid-request', `${object.checksum}.${object.type}: nothing was sent`);
  yield [{ ...object, total: offset + held.length, offset, data: held }];
}

async function moveRef(call: Call, caller: Caller, ref: string): Promise<void> {
  const { core, receiver, req } = call;
  pushCaller(caller).demand('push', ref);
  const commit = await readCommitName(req);
  const id = await sessionOf(call, caller);
  const current = await readRef(core.store, ref);
  // garage-push always asks for force. Who may not use it still moves refs forward.
  const force = FORCE_HEADERS.some((name) => req.headers[name] === 'true') && caller.may('force', ref);
  const mayReplace = current === null || current === commit || (await descends(call, caller, { id, commit, current }));
  if (!force && !mayReplace) {
    throw new ServerError('conflict', `ref ${ref} holds ${current}, which ${commit} does not descend from`, {
      hint: 'Push a descendant of it, or use a token that may force.',
      data: { current },
    });
  }
  const finish = (forced: boolean) =>
    receiver.finish(id, caller.name, { ref, commit, expect: current, force: forced }, (move, apply) =>
      recordMove(core, caller, move, apply),
    );
  let result = await finish(!mayReplace);
  if (result.state === 'conflict' && force) result = await finish(true);
  if (result.state === 'conflict') {
    throw new ServerError('conflict', `ref ${ref} was moved to ${result.current} meanwhile`, {
      data: { current: result.current },
    });
  }
  if (result.state === 'incomplete') {
    const [first] = result.missing;
    const more = result.missing.length > 1 ? ` and ${result.missing.length - 1} more` : '';
    throw new ServerError(
      'unprocessable',
      `${commit} is not whole here: ${first?.checksum}.${first?.type}${more} missing`,
      {
        hint: 'Push again: what is missing is asked for then.',
      },
    );
  }
  finishEmpty(call, 204);
}

async function readCommitName(req: IncomingMessage): Promise<Checksum> {
  let text = '';
  for await (const chunk of req as AsyncIterable<Buffer>) {
    text += chunk.toString('latin1');
    if (text.length > MAX_REF_BODY) break;
  }
  const commit = text.trim();
  if (isChecksum(commit)) return commit;
  throw new ServerError('invalid-request', 'the body is to be the checksum of a commit');
}

interface Descent {
  id: string;
  commit: Checksum;
  current: Checksum;
}

/** Whether what a ref holds is among the parents of a commit, as far as they are here. */
async function descends({ receiver }: Call, caller: Caller, { id, commit, current }: Descent): Promise<boolean> {
  let next: Checksum | null = commit;
  for (let count = 0; next !== null && count < MAX_PARENTS; count++) {
    next = (await receiver.commit(id, caller.name, next))?.parent ?? null;
    if (next === current) return true;
  }
  return false;
}

function finishEmpty({ res }: Call, status: number): void {
  res.writeHead(status, { 'cache-control': 'no-store', ...(status === 204 ? {} : { 'content-length': 0 }) }).end();
}
