import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import pino from 'pino';
import { createApi } from '../api/app.ts';
import { createRoutes } from '../api/routing.ts';
import { startTestServer, type TestServer } from '../testing/server.ts';
import { ACTIONS, type Action, type Caller, demand } from './caller.ts';
import type { MadeToken } from './schema.ts';

interface Operation {
  security?: Record<string, string[]>[];
}
interface Route {
  method: string;
  path: string;
  /** What the document says that it takes. */
  security: Record<string, string[]>[] | undefined;
}

/** For every caller: what they answer depends on who asks. */
const FOR_ALL = ['GET /whoami', 'GET /tokens', 'POST /tokens', 'GET /tokens/{id}', 'DELETE /tokens/{id}'];
const OPEN = ['GET /health'];

const cleanUp: (() => unknown)[] = [];
let server: TestServer;
let routes: Route[];
before(async () => {
  server = await startTestServer({ after: (work: () => unknown) => cleanUp.push(work) });
  const { paths } = await server.get<{ paths: Record<string, Record<string, Operation>> }>('/openapi.json');
  routes = Object.entries(paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, { security }]) => ({
      method: method.toUpperCase(),
      path: path.replace('/api/v1', ''),
      security,
    })),
  );
});
after(async () => {
  for (const work of cleanUp.reverse()) await work();
});

const label = ({ method, path }: Route) => `${method} ${path}`;

async function statusOf(route: Route, token: string): Promise<{ status: number; text: string }> {
  const abort = new AbortController();
  const response = await fetch(`${server.url}/api/v1${route.path.replaceAll(/\{[^}]+\}/g, 'x')}`, {
    method: route.method,
    headers: { authorization: `Bearer ${token}` },
    signal: abort.signal,
  });
  // Streams do not end by themselves.
  const isStream = response.headers.get('content-type')?.startsWith('text/event-stream');
  const text = isStream ? '' : await response.text();
  abort.abort();
  return { status: response.status, text };
}

async function tokenFor(name: string, allow: Action[]): Promise<string> {
  const made = await server.post<MadeToken>('/tokens', { name, allow });
  return made.token!;
}

test('every route says what it takes: an action, the runner token, or that it is for all', () => {
  assert.ok(routes.length > 20);
  for (const route of routes) {
    const what = route.security?.flatMap((scheme) => Object.entries(scheme));
    if (OPEN.includes(label(route))) assert.deepEqual(what, [], label(route));
    else if (route.path.startsWith('/runner/')) assert.deepEqual(what, [['runner', []]], label(route));
    else if (FOR_ALL.includes(label(route))) assert.deepEqual(what, [['token', []]], label(route));
    else {
      assert.equal(what?.[0]?.[0], 'token', `${label(route)} demands nothing: see demands() in api/routing.ts`);
      assert.equal(what[0][1].length, 1, label(route));
      assert.ok(ACTIONS.includes(what[0][1][0] as Action), label(route));
    }
  }
  for (const name of [...FOR_ALL, ...OPEN])
    assert.ok(
      routes.some((route) => label(route) === name),
      name,
    );
});

test('a token with every action but the one that a route demands is refused there, before its body is looked at', async () => {
  const tokens = new Map<string, string>();
  for (const action of ACTIONS) {
    tokens.set(
      action,
      await tokenFor(
        `all-but-${action}`,
        ACTIONS.filter((other) => other !== action),
      ),
    );
  }
  for (const route of routes) {
    const [action] = route.security?.[0]?.token ?? [];
    if (action === undefined) continue;
    const { status, text } = await statusOf(route, tokens.get(action)!);
    assert.equal(status, 403, `${label(route)} without ${action}: ${status} ${text}`);
    assert.match(text, new RegExp(`"all-but-${action} may not ${action}"`));
  }
});

test('a token with just that action is let through to what the route says about its request', async () => {
  const tokens = new Map<string, string>();
  for (const action of ACTIONS) tokens.set(action, await tokenFor(`only-${action}`, [action]));
  for (const route of routes) {
    const [action] = route.security?.[0]?.token ?? [];
    if (action === undefined) continue;
    const { status, text } = await statusOf(route, tokens.get(action)!);
    assert.ok(status !== 401 && status !== 403, `${label(route)} with ${action}: ${status} ${text}`);
  }
});

test('what is served beside the document, for clients of other protocols, demands as well', async () => {
  const may = await tokenFor('nothing-here', ['label']);
  for (const [method, path] of [
    ['POST', '/api/v1/push/sessions'],
    ['GET', '/api/v1/push/x'],
    ['GET', '/api/v1/store/config'],
    ['HEAD', '/treehub/api/v3/objects/aa/bb.commit'],
    ['POST', '/treehub/api/v3/refs/heads/x'],
    ['GET', '/treehub/config'],
    ['GET', '/repos/private/config'],
    ['GET', '/api/v1/commits/a/b/c'],
  ] as const) {
    const ask = async (token: string | null) => {
      const headers = token === null ? {} : { authorization: `Bearer ${token}` };
      return (await fetch(`${server.url}${path}`, { method, headers })).status;
    };
    assert.deepEqual([await ask(null), await ask(may)], [401, 403], `${method} ${path}`);
  }
});

test('every token may ask who it is, and sees itself alone', async () => {
  const { token, id } = await server.post<MadeToken>('/tokens', { name: 'lonely', allow: ['label'] });
  const ask = async (path: string) => {
    const response = await fetch(`${server.url}/api/v1${path}`, { headers: { authorization: `Bearer ${token}` } });
    return { status: response.status, body: (await response.json()) as Record<string, unknown> };
  };
  const { body } = await ask('/whoami');
  assert.equal(body.name, 'lonely');
  assert.deepEqual(body.actions, ['label']);
  const { tokens } = (await ask('/tokens')).body as { tokens: { id: string }[] };
  assert.deepEqual(
    tokens.map((other) => other.id),
    [id],
  );
  assert.equal((await ask('/tokens/only-run')).status, 404);
  assert.equal((await ask('/tokens/nobody')).status, 404);
});

test('a route that asks nothing of its callers answers nobody', async () => {
  const routes = createRoutes();
  routes.get('/forgotten', (c) => c.json({ secret: 1 }));
  routes.get('/guarded', (c) => {
    demand(c.get('caller'), 'read');
    return c.json({ secret: 2 });
  });
  const caller: Caller = { name: 'x', kind: 'person', session: null, address: null, may: () => true };
  const log = pino({ level: 'silent' });
  const api = createApi({ authenticator: { authenticate: () => caller }, log, bodyLimit: 1024, routes: [routes] });
  const ask = async (path: string) => await api.request(`/api/v1${path}`, {}, { incoming: {} });
  assert.equal((await ask('/guarded')).status, 200);
  const answer = await ask('/forgotten');
  assert.equal(answer.status, 500);
  assert.doesNotMatch(await answer.text(), /secret/);
});
