import { OpenAPIHono, z } from '@hono/zod-openapi';
import type { MiddlewareHandler } from 'hono';
import { type Action, type Caller, demand } from '../access/caller.ts';
import { ServerError } from '../errors.ts';
import { ErrorBody } from './schema.ts';

export type ApiEnvironment = {
  Variables: {
    requestId: string;
    caller: Caller;
    /** Whether anything was demanded of the caller: see `app.ts`. */
    demanded: boolean;
  };
};

/**
 * For `createRoute`: what the caller must be allowed to do, before anything else of the request is looked at; null =
 * every caller may ask, and the answer depends on who it is. A handler that learns a subject demands again.
 */
export function demands(action: Action | null) {
  const middleware: MiddlewareHandler<ApiEnvironment> = async (c, next) => {
    if (action !== null) demand(c.get('caller'), action);
    c.set('demanded', true);
    await next();
  };
  return { middleware, security: [{ token: action === null ? [] : [action] }] };
}

/** An app whose request bodies, parameters and queries are checked, with errors that name what is wrong. */
export function createRoutes(): OpenAPIHono<ApiEnvironment> {
  return new OpenAPIHono<ApiEnvironment>({
    defaultHook: (result) => {
      if (result.success) return;
      const issues = result.error.issues.map((issue) => `${issue.path.join('.') || result.target}: ${issue.message}`);
      throw new ServerError('invalid-request', `the request is not valid: ${issues.join('; ')}`);
    },
  });
}

export function json<T extends z.ZodType>(schema: T, description: string) {
  return { description, content: { 'application/json': { schema } } };
}

/** A request body that must be there. */
export function body<T extends z.ZodType>(schema: T, description: string) {
  return { required: true, ...json(schema, description) };
}

/** A request body that may be left out. Hono does not read it when the request has no content type. */
export function optionalBody<T extends z.ZodType>(schema: T, description: string) {
  return { required: false, ...json(schema, description) };
}

export const errors = { default: json(ErrorBody, 'What went wrong') };

/** A list's `?limit=`. */
export const Limit = z.coerce.number().int().min(1).max(1000).default(50);
