import assert from 'node:assert/strict';
import { request } from 'node:http';
import { after, before, test } from 'node:test';
import { createGitRepository } from '../testing/git-repository.ts';
import { OFFER } from '../testing/runner.ts';
import { scratch } from '../testing/scratch.ts';
import { startTestServer, type TestServer } from '../testing/server.ts';
import type { ErrorBody } from './schema.ts';

const cleanUp: (() => unknown)[] = [];
let server: TestServer;
let folder: string;
before(async () => {
  folder = scratch({ after: (work: () => unknown) => cleanUp.push(work) });
  server = await startTestServer(
    { after: (work: () => unknown) => cleanUp.push(work) },
    {
      bodyLimit: 64 * 1024,
      publicRepositories: ['public'],
      trustedProxies: ['127.0.0.1'],
    },
  );
});
after(async () => {
  for (const work of cleanUp.reverse()) await work();
});

interface Route {
  method: string;
  path: string;
  runner: boolean;
}

/** Every route that the API says it has. */
async function routes(): Promise<Route[]> {
  const { paths } = await server.get<{ paths: Record<string, Record<string, unknown>> }>('/openapi.json');
  return Object.entries(paths).flatMap(([path, methods]) =>
    Object.keys(methods).map((method) => ({
      method: method.toUpperCase(),
      path: path.replaceAll(/\{[^}]+\}/g, 'x'),
      runner: path.startsWith('/api/v1/runner/'),
    })),
  );
}

/** node:http, because fetch tidies up paths before it sends them. */
function raw(
  method: string,
  path: string,
  o: { headers?: Record<string, string>; body?: string } = {},
): Promise<{ status: number; text: string }> {
  const { hostname, port } = new URL(server.url);
  return new Promise((resolve, reject) => {
    const req = request({ hostname, port, method, path, headers: o.headers ?? {} }, (res) => {
      let text = '';
      res.setEncoding('utf8').on('data', (chunk: string) => {
        text += chunk;
      });
      res.on('end', () => resolve({ status: res.statusCode ?? 0, text }));
    });
    req.on('error', reject);
    req.end(o.body);
  });
}

function isError(text: string, code?: string): void {
  const { error } = JSON.parse(text) as ErrorBody;
  assert.equal(typeof error.message, 'string');
  assert.match(error.requestId, /^[0-9a-f-]{36}$/);
  assert.doesNotMatch(text, /node_modules|\.ts:\d|SQLITE|select /);
  if (code) assert.equal(error.code, code);
}

test('the OpenAPI document names every capability', async () => {
  const paths = (await routes()).map((route) => `${route.method} ${route.path}`);
  for (const path of ['GET /api/v1/projects', 'POST /api/v1/publish', 'GET /api/v1/devices', 'GET /api/v1/events']) {
    assert.ok(paths.includes(path), path);
  }
});

test('health needs no token; nothing else answers without one, or with a false one', async () => {
  assert.equal((await raw('GET', '/api/v1/health')).status, 200);
  const wrong = [
    '',
    'Bearer',
    'Bearer x',
    'Basic YWRtaW46YWRtaW4=',
    `Bearer ${server.adminToken}x`,
    `Token ${server.adminToken}`,
  ];
  let clients = 0;
  for (const route of await routes()) {
    if (route.path === '/api/v1/health') continue;
    for (const authorization of wrong) {
      // Each from another address: who fails too often has to wait.
      clients += 1;
      const headers = { authorization, 'x-forwarded-for': `10.0.${clients >> 8}.${clients & 255}` };
      const { status, text } = await raw(route.method, route.path, { headers });
      assert.equal(status, 401, `${route.method} ${route.path}`);
      isError(text, 'unauthenticated');
    }
  }
  assert.equal((await raw('GET', '/api/v1/openapi.json')).status, 401);
  assert.equal((await raw('GET', '/api/v1/nothing')).status, 401);
});

test('the runner token opens only the runner protocol, and the admin token everything but it', async () => {
  for (const route of await routes()) {
    if (route.path === '/api/v1/health') continue;
    const token = route.runner ? server.adminToken : server.runnerToken;
    const { status, text } = await raw(route.method, route.path, { headers: { authorization: `Bearer ${token}` } });
    assert.equal(status, 403, `${route.method} ${route.path}`);
    isError(text, 'forbidden');
  }
});

test('bodies of wrong types, broken JSON, and bodies that are too large are refused with an error that says so', async () => {
  const bodies = [
    '',
    '{',
    'null',
    '[]',
    '"x"',
    '7',
    '{"name":7}',
    '{"name":{"a":1},"url":[]}',
    '{"__proto__":{"x":1}}',
    '{"unknown":1}',
    '\0\0',
    '{"name":"\\u0000","url":"x"}',
  ];
  for (const route of await routes()) {
    if (route.method !== 'POST' && route.method !== 'PATCH') continue;
    if (route.path.endsWith('/runs') || route.path.endsWith('/cancel') || route.path.endsWith('/enrolment-tokens'))
      continue;
    const token = route.runner ? server.runnerToken : server.adminToken;
    const headers = { authorization: `Bearer ${token}`, 'content-type': 'application/json' };
    for (const body of bodies) {
      const { status, text } = await raw(route.method, route.path, { headers, body });
      assert.ok(status >= 400 && status < 500, `${route.method} ${route.path} ${body}: ${status} ${text}`);
      isError(text);
    }
    const huge = JSON.stringify({ name: 'x'.repeat(100_000) });
    const { status, text } = await raw(route.method, route.path, { headers, body: huge });
    assert.equal(status, 413, `${route.method} ${route.path}`);
    isError(text, 'too-large');
  }
});

test('a body without a length is cut off at the limit as well', async () => {
  const headers = {
    authorization: `Bearer ${server.adminToken}`,
    'content-type': 'application/json',
    'transfer-encoding': 'chunked',
  };
  const body = JSON.stringify({ name: 'x'.repeat(200_000) });
  const { status } = await raw('POST', '/api/v1/projects', { headers, body });
  assert.equal(status, 413);
});

test('odd queries and ids are refused or not found, never a failure of the server', async () => {
  const paths = [
    '/runs?limit=0',
    '/runs?limit=1e9',
    '/runs?limit=x',
    '/runs?project=../x',
    '/runs/%00',
    '/runs/run-0',
    '/runs/latest',
    "/runs/'%20or%201=1",
    '/executions/x/log',
    '/executions/../../etc/passwd/log',
    '/executions/x0000000000000000/log',
    '/executions/x0000000000000000/log?offset=-1',
    '/commits/x',
    '/commits/%2e%2e%2f%2e%2e',
    '/commits/-x',
    '/commits/a%00b',
    '/commits/refs/heads/../../x',
    '/commits/^^^^',
    '/commits/a/b',
    '/commits/public:robot/edge',
    '/diff',
    '/diff?from=a',
    '/diff?from=a&to=b',
    '/releases?channel=..',
    '/releases?repository=a/b',
    '/artifacts?project=%25',
    '/events?since=x',
    '/devices/x',
    '/projects/nope',
    '/tokens/%00',
    '/tokens/..%2f..',
    '/tokens/tl_',
    '/audit?before=9e99',
    '/audit?since=0000-00-00T00:00:00Z',
    '/projects/..%2f..',
  ];
  for (const path of paths) {
    const { status, text } = await raw('GET', `/api/v1${path}`, {
      headers: { authorization: `Bearer ${server.adminToken}` },
    });
    assert.ok(status >= 400 && status < 500, `${path}: ${status} ${text}`);
    isError(text);
  }
});

test('project names and URLs that would reach git, refs or folders are refused', async () => {
  const repo = createGitRepository(`${folder}/ok`);
  repo.commit('one', { a: '1' });
  for (const name of ['', '.', '..', 'a/b', '../a', '-a', 'a b', 'a\n', 'x'.repeat(64), '.git']) {
    assert.equal((await server.call('POST', '/projects', { name, url: repo.path })).status, 400, name);
  }
  for (const url of ['ext::sh -c id', '--upload-pack=id', '-x', `${folder}/none`, 'file:///etc/passwd', 'x\ny']) {
    const { status, body } = await server.call('POST', '/projects', { name: 'p', url });
    assert.equal(status, 422, url);
    isError(JSON.stringify(body));
  }
  for (const branch of ['-x', '--all', 'no such', 'nope']) {
    assert.equal((await server.call('POST', '/projects', { name: 'p', url: repo.path, branch })).status, 422, branch);
  }
  assert.deepEqual(await server.get('/projects'), { projects: [] });
});

test('the same project twice is a conflict', async () => {
  const repo = createGitRepository(`${folder}/twice`);
  repo.commit('one', { a: '1' });
  await server.addProject('twice', repo.path);
  assert.equal((await server.call('POST', '/projects', { name: 'twice', url: repo.path })).status, 409);
  assert.equal((await server.call('DELETE', '/projects/twice')).status, 204);
  assert.equal((await server.call('DELETE', '/projects/twice')).status, 404);
});

test('published repositories: nothing outside them, nothing of the store, nothing to write', async () => {
  const paths = [
    '/repos/../treeline.db',
    '/repos/public/../../admin-token',
    '/repos/public/..%2f..%2fadmin-token',
    '/repos/%2e%2e/admin-token',
    '/repos/public/%2e%2e/%2e%2e/admin-token',
    '/repos//etc/passwd',
    '/repos/public//etc/passwd',
    '/repos/public/objects/../../../admin-token',
    '/repos/public/%00',
    '/repos/public/refs/heads/%2e%2e%2f%2e%2e%2fconfig',
    '/repos/../store/config',
    '/repos/public',
    '/repos/',
    '/repos/.hidden/config',
    '/repos/private/config',
    '/repos/public/tmp/',
    '/repos/public/..\\..\\admin-token',
  ];
  for (const path of paths) {
    const { status, text } = await raw('GET', path);
    assert.ok(status === 404 || status === 400 || status === 401, `${path}: ${status}`);
    assert.ok(!text.includes(server.adminToken));
  }
  assert.equal((await raw('GET', '/repos/public/config')).status, 200);
  assert.equal((await raw('PUT', '/repos/public/config', { body: 'x' })).status, 405);
  assert.equal((await raw('DELETE', '/repos/public/config')).status, 405);
});

test('publishing to odd places is refused', async () => {
  const good = { commit: 'a'.repeat(64), channel: 'robot/edge' };
  for (const bad of [
    { channel: '../x' },
    { channel: '/x' },
    { channel: 'a//b' },
    { channel: '.x' },
    { repository: '../x' },
    { expect: 'x' },
    { commit: '' },
  ]) {
    assert.equal((await server.call('POST', '/publish', { ...good, ...bad })).status, 400, JSON.stringify(bad));
  }
  assert.equal((await server.call('POST', '/publish', good)).status, 404);
});

test('a runner that speaks another protocol, or none, gets no lease', async () => {
  const headers = { authorization: `Bearer ${server.runnerToken}`, 'content-type': 'application/json' };
  const lease = (offer: object) =>
    raw('POST', '/api/v1/runner/lease', {
      headers,
      body: JSON.stringify({ runner: { ...OFFER, ...offer }, waitSeconds: 0 }),
    });
  assert.equal((await lease({})).status, 204);
  assert.equal((await lease({ protocol: 2 })).status, 400);
  assert.equal((await lease({ memoryBytes: -1 })).status, 400);
  const beat = await raw('POST', '/api/v1/runner/executions/nope/heartbeat', {
    headers,
    body: '{"token":1,"logOffset":0}',
  });
  assert.equal(beat.status, 404);
});

test('events: a reader that comes back with Last-Event-ID gets what it missed', async () => {
  const repo = createGitRepository(`${folder}/events`);
  repo.commit('one', { a: '1' });
  const before = (await server.get<{ lastEventId: number }>('/status')).lastEventId;
  await server.addProject('events', repo.path);
  const read = async (headers: Record<string, string>, query = '') => {
    const abort = new AbortController();
    const response = await fetch(`${server.url}/api/v1/events${query}`, {
      headers: { authorization: `Bearer ${server.adminToken}`, ...headers },
      signal: abort.signal,
    });
    assert.match(response.headers.get('content-type') ?? '', /text\/event-stream/);
    let text = '';
    for await (const chunk of response.body!.pipeThrough(new TextDecoderStream())) {
      text += chunk;
      if (text.includes('project.pushed')) break;
    }
    abort.abort();
    return text;
  };
  const text = await read({ 'last-event-id': String(before) });
  assert.match(text, new RegExp(`id: ${before + 1}\\n`));
  assert.ok(text.indexOf('project.added') < text.indexOf('project.pushed'));
  const filtered = await read({}, `?since=${before}&types=project.p`);
  assert.ok(!filtered.includes('project.added'));
});
