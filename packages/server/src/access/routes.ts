import { createRoute, type OpenAPIHono, z } from '@hono/zod-openapi';
import { type ApiEnvironment, body, createRoutes, demands, errors, json, Limit } from '../api/routing.ts';
import { Time } from '../api/schema/values.ts';
import type { Database } from '../database/open.ts';
import { ServerError } from '../errors.ts';
import { time } from '../reading/time.ts';
import { readAudit } from './audit-pages.ts';
import { ACTIONS, type Caller } from './caller.ts';
import { AuditPage, MadeToken, RevokedTokens, Token, TokenCreate, TokenList, WhoAmI } from './schema.ts';
import type { Tokens, Token as TokenWithGrant } from './tokens.ts';

const Params = z.object({ id: z.string().min(1).max(64).openapi({ description: 'Id or name of a token' }) });
const Text = z
  .string()
  .max(300)
  .regex(/^[^\p{Cc}]+$/u, 'expected text without control characters');
const ActionFilter = z
  .string()
  .max(100)
  .regex(/^[a-z][a-z.-]*$/, 'expected an action such as release.publish, or release. for all of releases');

const whoAmI = createRoute({
  method: 'get',
  path: '/whoami',
  summary: 'Who the caller is, and what it may do',
  ...demands(null),
  responses: { 200: json(WhoAmI, 'The caller'), ...errors },
});
const list = createRoute({
  method: 'get',
  path: '/tokens',
  summary: 'Tokens: all for who may administer, otherwise the own one and those made from it',
  ...demands(null),
  request: { query: z.object({ all: z.enum(['0', '1']).optional().openapi({ description: '1: also ended ones' }) }) },
  responses: { 200: json(TokenList, 'The tokens, oldest first'), ...errors },
});
const get = createRoute({
  method: 'get',
  path: '/tokens/{id}',
  summary: 'One token',
  ...demands(null),
  request: { params: Params },
  responses: { 200: json(Token, 'The token'), ...errors },
});
const create = createRoute({
  method: 'post',
  path: '/tokens',
  summary: 'Make a token; it allows at most what the caller may, and ends with the token that it is made with',
  ...demands(null),
  request: { body: body(TokenCreate, 'The token') },
  responses: { 201: json(MadeToken, 'The token, with its text: shown only now'), ...errors },
});
const revoke = createRoute({
  method: 'delete',
  path: '/tokens/{id}',
  summary: 'End a token and all that were made from it: the own one, those below it, or any with administer',
  ...demands(null),
  request: { params: Params },
  responses: { 200: json(RevokedTokens, 'What ended'), ...errors },
});
const audit = createRoute({
  method: 'get',
  path: '/audit',
  summary: 'The audit log: every change with who, what, from where and when',
  ...demands('administer'),
  request: {
    query: z.object({
      actor: Text.optional(),
      action: ActionFilter.optional().openapi({
        description: 'release.publish, or with a dot at the end all that begin so',
      }),
      subject: Text.optional(),
      address: Text.optional(),
      since: Time.optional(),
      until: Time.optional(),
      before: z.coerce.number().int().min(1).optional().openapi({ description: '`next` of the page before' }),
      limit: Limit,
    }),
  },
  responses: { 200: json(AuditPage, 'A page'), ...errors },
});

/** REST routes of tokens and of the audit log. */
export function accessRoutes({ db, tokens }: { db: Database; tokens: Tokens }): OpenAPIHono<ApiEnvironment> {
  const app = createRoutes();
  const isVisible = (caller: Caller, token: TokenWithGrant) =>
    caller.may('administer') || (caller.token !== undefined && tokens.isBelow(token, caller.token));
  const found = (caller: Caller, idOrName: string): TokenWithGrant => {
    const token = tokens.get(idOrName);
    if (token !== null && isVisible(caller, token)) return token;
    throw new ServerError('not-found', `there is no token "${idOrName}"`, {
      hint: 'See those that there are with: treeline token list',
    });
  };
  const view = (token: TokenWithGrant) => tokenView(tokens, token);

  app.openapi(whoAmI, (c) => {
    const caller = c.get('caller');
    const token = caller.token === undefined ? null : tokens.get(caller.token);
    const shown = token && view(token);
    const { name, address } = caller;
    const what = shown ?? { actions: ACTIONS.filter((action) => caller.may(action)), on: null };
    return c.json({ name, token: shown, actions: what.actions, on: what.on, address }, 200);
  });
  app.openapi(list, (c) => {
    const caller = c.get('caller');
    const shown = tokens
      .all()
      .filter((token) => isVisible(caller, token))
      .map(view)
      .filter((token) => c.req.valid('query').all === '1' || token.state === 'good');
    return c.json({ tokens: shown }, 200);
  });
  app.openapi(get, (c) => c.json(view(found(c.get('caller'), c.req.valid('param').id)), 200));
  app.openapi(create, async (c) => {
    const { expiresSeconds, ...wish } = c.req.valid('json');
    const made = await tokens.create({ ...wish, expires: expiresSeconds }, c.get('caller'));
    return c.json({ ...view(made.token), token: made.text }, 201);
  });
  app.openapi(revoke, async (c) => {
    const caller = c.get('caller');
    const revoked = await tokens.revoke(found(caller, c.req.valid('param').id), caller);
    return c.json({ revoked: revoked.map(view) }, 200);
  });
  app.openapi(audit, async (c) => {
    const { since, until, ...filter } = c.req.valid('query');
    const ms = (text: string | undefined) => (text === undefined ? undefined : Date.parse(text));
    return c.json(await readAudit(db, { ...filter, since: ms(since), until: ms(until) }), 200);
  });
  return app;
}

function tokenView(tokens: Tokens, token: TokenWithGrant): Token {
  const { row } = token;
  const { actions, patterns } = tokens.effective(token);
  const parent = row.parent === null ? null : tokens.get(row.parent);
  return {
    ...{ id: row.id, name: row.name, role: row.role, certificateName: row.certificate_name },
    actions,
    on: patterns,
    parent: parent && { id: parent.row.id, name: parent.row.name },
    createdBy: row.created_by,
    createdAt: time(row.created_at),
    expiresAt: time(row.expires_at),
    revokedAt: time(row.revoked_at),
    state: tokens.stateOf(token),
    lastUsedAt: time(row.last_used_at),
    lastUsedFrom: row.last_used_from,
  };
}
