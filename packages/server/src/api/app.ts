import { randomUUID } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import type { OpenAPIHono } from '@hono/zod-openapi';
import type { Context } from 'hono';
import { bodyLimit } from 'hono/body-limit';
import { HTTPException } from 'hono/http-exception';
import type { Logger } from 'pino';
import type { Asking, Authenticator } from '../access/authenticator.ts';
import type { Caller } from '../access/caller.ts';
import { refusalHeaders } from '../access/refusal-headers.ts';
import { ServerError } from '../errors.ts';
import { VERSION } from '../version.ts';
import { type ApiEnvironment, createRoutes } from './routing.ts';
import type { ErrorBody } from './schema.ts';

export interface ApiDeps {
  authenticator: Authenticator;
  log: Logger;
  /** Bytes. */
  bodyLimit: number;
  /** Apps with the routes below /api/v1. */
  routes: readonly OpenAPIHono<ApiEnvironment>[];
}

const BASE = '/api/v1';
const OPEN = new Set([`${BASE}/health`]);
/** For every caller; what it describes is no secret. */
const DOCUMENT = `${BASE}/openapi.json`;
const RUNNER = `${BASE}/runner/`;

/** The REST API as a hono app: authentication, limits and errors around the routes. */
export function createApi(deps: ApiDeps): OpenAPIHono<ApiEnvironment> {
  const app = createRoutes();
  app.use(async (c, next) => {
    c.set('requestId', randomUUID());
    c.header('x-request-id', c.get('requestId'));
    c.header('cache-control', 'no-store');
    c.header('x-content-type-options', 'nosniff');
    await next();
  });
  app.use(async (c, next) => {
    if (OPEN.has(c.req.path)) return await next();
    const caller = authenticate(c, deps);
    c.set('demanded', caller.kind === 'runner' || c.req.path === DOCUMENT);
    c.set('caller', {
      ...caller,
      may: (action, subject) => {
        c.set('demanded', true);
        return caller.may(action, subject);
      },
    });
    await next();
    // A route that asks for nothing was forgotten, not meant: it answers nobody.
    if (c.get('demanded') || !c.res.ok) return;
    deps.log.error({ path: c.req.path, method: c.req.method }, 'a route demands nothing of its callers');
    throw new ServerError('internal', 'this route is not guarded');
  });
  app.use(
    bodyLimit({
      maxSize: deps.bodyLimit,
      onError: () => {
        throw new ServerError('too-large', `the request body is larger than ${deps.bodyLimit} bytes`);
      },
    }),
  );
  for (const routes of deps.routes) app.route(BASE, routes);
  app.openAPIRegistry.registerComponent('securitySchemes', 'token', {
    ...{ type: 'http', scheme: 'bearer' },
    description: 'A token. What a route demands of it is in the list; nothing there: every token may ask.',
  });
  app.openAPIRegistry.registerComponent('securitySchemes', 'runner', {
    ...{ type: 'http', scheme: 'bearer' },
    description: 'The runner token, which opens the runner protocol and nothing else.',
  });
  app.doc31(DOCUMENT, {
    openapi: '3.1.0',
    info: { title: 'Treeline', version: VERSION },
    security: [{ token: [] }],
  });
  app.notFound((c) => {
    throw new ServerError('not-found', `there is nothing at ${c.req.method} ${c.req.path}`, {
      hint: `See ${BASE}/openapi.json.`,
    });
  });
  app.onError((error, c) => answerError(error, c, deps.log));
  return app;
}

function authenticate(c: Context<ApiEnvironment>, deps: ApiDeps): Caller {
  const caller = deps.authenticator.authenticate(incomingOf(c));
  // Neither token does what the other is for: a runner's reaches many machines, the admin's should not.
  const runnerPath = c.req.path.startsWith(RUNNER);
  if (runnerPath !== (caller.kind === 'runner')) {
    throw new ServerError('forbidden', `the ${caller.name} token does not allow ${c.req.method} ${c.req.path}`);
  }
  return caller;
}

/** The request as node has it; what there is of one where the app is called without a socket. */
function incomingOf(c: Context<ApiEnvironment>): Asking {
  const { incoming } = (c.env ?? {}) as { incoming?: IncomingMessage };
  return incoming ?? { headers: c.req.header(), method: c.req.method, socket: {} as IncomingMessage['socket'] };
}

function answerError(error: Error, c: Context<ApiEnvironment>, log: Logger) {
  const known = asServerError(error);
  const requestId = c.get('requestId');
  if (known.status >= 500) log.error({ err: error, requestId, path: c.req.path }, 'a request failed');
  const answer: ErrorBody = {
    error: {
      code: known.code,
      message: known.message,
      ...(known.hint === undefined ? {} : { hint: known.hint }),
      ...(known.data === undefined ? {} : { data: known.data }),
      requestId,
    },
  };
  for (const [name, value] of Object.entries(refusalHeaders(known))) c.header(name, value);
  return c.json(answer, known.status as 400);
}

function asServerError(error: Error): ServerError {
  if (error instanceof ServerError) return error;
  if (error instanceof HTTPException && error.status < 500) {
    return new ServerError('invalid-request', error.message || 'the request is not valid', { cause: error });
  }
  return new ServerError('internal', 'the server failed', { cause: error, hint: 'See its log for the request id.' });
}
