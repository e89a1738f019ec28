import { randomUUID } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import type { OpenAPIHono } from '@hono/zod-openapi';
import type { Context } from 'hono';
import { bodyLimit } from 'hono/body-limit';
import { HTTPException } from 'hono/http-exception';
import type { Logger } from 'pino';
import type { Caller } from '../access/caller.ts';
import { ServerError } from '../errors.ts';
import { VERSION } from '../version.ts';
import { type ApiEnvironment, createRoutes } from './routing.ts';
import type { ErrorBody } from './schema.ts';

export interface ApiDeps {
  /** Who a bearer token belongs to; null = nobody. `address`: where the request comes from, if it has a socket. */
  identify(token: string, address: string | null): Caller | null;
  log: Logger;
  /** Bytes. */
  bodyLimit: number;
  /** Apps with the routes below /api/v1. */
  routes: readonly OpenAPIHono<ApiEnvironment>[];
  /** Apps that know nothing of callers. */
  plainRoutes?: readonly OpenAPIHono[];
}

const BASE = '/api/v1';
const OPEN = new Set([`${BASE}/health`]);
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
    if (!OPEN.has(c.req.path)) c.set('caller', authenticate(c, deps));
    await next();
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
  for (const routes of deps.plainRoutes ?? []) app.route(BASE, routes as unknown as OpenAPIHono<ApiEnvironment>);
  app.openAPIRegistry.registerComponent('securitySchemes', 'token', { type: 'http', scheme: 'bearer' });
  app.doc31(`${BASE}/openapi.json`, {
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
  const token = /^Bearer ([\x21-\x7e]{1,512})$/i.exec(c.req.header('authorization') ?? '')?.[1];
  const caller = token === undefined ? null : deps.identify(token, addressOf(c));
  if (!caller) {
    c.header('www-authenticate', 'Bearer');
    throw new ServerError(
      'unauthenticated',
      token === undefined ? 'a bearer token is required' : 'the token is not valid',
      {
        hint: 'The admin token is in the file admin-token of the data folder.',
      },
    );
  }
  // Neither token does what the other is for: a runner's reaches many machines, the admin's should not.
  const runnerPath = c.req.path.startsWith(RUNNER);
  if (runnerPath !== (caller.kind === 'runner')) {
    throw new ServerError('forbidden', `the ${caller.name} token does not allow ${c.req.method} ${c.req.path}`);
  }
  return caller;
}

/** Remote address of the connection; null where the app is called without one. */
function addressOf(c: Context<ApiEnvironment>): string | null {
  const incoming = (c.env as { incoming?: IncomingMessage } | undefined)?.incoming;
  return incoming?.socket.remoteAddress ?? null;
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
  return c.json(answer, known.status as 400);
}

function asServerError(error: Error): ServerError {
  if (error instanceof ServerError) return error;
  if (error instanceof HTTPException && error.status < 500) {
    return new ServerError('invalid-request', error.message || 'the request is not valid', { cause: error });
  }
  return new ServerError('internal', 'the server failed', { cause: error, hint: 'See its log for the request id.' });
}
