import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { setTimeout } from 'node:timers/promises';
import { createTestCore } from '../testing/core.ts';
import { createGitRepository } from '../testing/git-repository.ts';
import { scratch } from '../testing/scratch.ts';
import { startTestServer, type TestServer } from '../testing/server.ts';
import { readAudit } from './audit-pages.ts';
import type { AuditEntry, AuditPage, MadeToken } from './schema.ts';

const cleanUp: (() => unknown)[] = [];
const t = { after: (work: () => unknown) => cleanUp.push(work) };
let server: TestServer;
let ada: MadeToken;
let folder: string;
before(async () => {
  folder = scratch(t);
  server = await startTestServer(t, { trustedProxies: ['127.0.0.1'] });
  ada = await server.post<MadeToken>('/tokens', { name: 'ada', role: 'admin' });
});
after(async () => {
  for (const work of cleanUp.reverse()) await work();
});

/** As ada, from an address of her own. */
async function call(method: string, path: string, body?: unknown): Promise<{ status: number; body: unknown }> {
  const response = await fetch(`${server.url}/api/v1${path}`, {
    method,
    headers: {
      authorization: `Bearer ${ada.token}`,
      'x-forwarded-for': '198.51.100.3',
      ...(body === undefined ? {} : { 'content-type': 'application/json' }),
    },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
  const text = await response.text();
  return { status: response.status, body: text === '' ? null : (JSON.parse(text) as unknown) };
}

const newest = async (): Promise<AuditEntry> => (await server.get<AuditPage>('/audit?limit=1')).entries[0]!;

test('each change by hand is in the audit log: who, what, to what, from where', async () => {
  const repo = createGitRepository(`${folder}/app`);
  repo.commit('one', { 'treeline.yaml': 'jobs: {}\n' });
  const steps: [method: string, path: string, body: unknown, action: string, subject: string | RegExp][] = [
    ['POST', '/projects', { name: 'app', url: repo.path, run: false }, 'project.add', 'app'],
    ['POST', '/runs', { reason: 'to see' }, 'run.create', 'run-1'],
    ['POST', '/projects/app/run', {}, 'run.create', 'run-2'],
    ['POST', '/repositories', { name: 'partners' }, 'repository.add', 'partners'],
    ['PATCH', '/repositories/partners', { access: 'public' }, 'repository.set', 'partners'],
    ['DELETE', '/repositories/partners', undefined, 'repository.remove', 'partners'],
    ['POST', '/enrolment-tokens', { channel: 'robot/edge' }, 'enrolment-token.create', 'robot/edge'],
    ['POST', '/tokens', { name: 'ci', role: 'developer' }, 'token.create', 'ci'],
    ['DELETE', '/tokens/ci', undefined, 'token.revoke', 'ci'],
    ['DELETE', '/projects/app', undefined, 'project.remove', 'app'],
  ];
  for (const [method, path, body, action, subject] of steps) {
    const { status, body: answer } = await call(method, path, body);
    assert.ok(status < 300, `${method} ${path}: ${status} ${JSON.stringify(answer)}`);
    const entry = await newest();
    assert.deepEqual(
      [entry.actor, entry.token, entry.address, entry.action, entry.subject],
      ['ada', ada.id, '198.51.100.3', action, subject],
      `${method} ${path}`,
    );
    assert.ok(Date.now() - Date.parse(entry.at) < 30_000);
  }
});

test('what was refused, or changed nothing, is not', async () => {
  const before = (await newest()).id;
  for (const [method, path, body, status] of [
    ['DELETE', '/projects/nope', undefined, 404],
    ['POST', '/projects', { name: 'x', url: '/nowhere' }, 422],
    ['POST', '/runs', {}, 422],
    ['DELETE', '/tokens/ci', undefined, 404],
    ['POST', '/tokens', { name: 'ada', role: 'viewer' }, 409],
    ['DELETE', '/devices/nope', undefined, 404],
    ['PATCH', '/devices/nope', { accepted: true }, 404],
    ['POST', '/publish', { commit: 'a'.repeat(64), channel: 'robot/edge' }, 404],
  ] as const) {
    assert.equal((await call(method, path, body)).status, status, `${method} ${path}`);
  }
  assert.equal((await newest()).id, before);
});

test('an entry is there exactly if its change is', async (context) => {
  const core = await createTestCore(context);
  const failing = core.db.transaction().execute(async (trx) => {
    await core.audit.record({ caller: null, action: 'test.one', subject: 'x' }, trx);
    throw new RangeError('not today');
  });
  await assert.rejects(failing, RangeError);
  await core.audit.record({ caller: { name: 'x', address: null }, action: 'test.two', subject: 'ü\u{1F332}' });
  const { entries } = await readAudit(core.db, { action: 'test.', limit: 10 });
  assert.deepEqual(
    entries.map(({ id, action, subject }) => [id, action, subject]),
    [[entries[0]!.id, 'test.two', 'ü\u{1F332}']],
  );
});

test('who may not administer cannot read it, and odd filters are refused', async () => {
  const viewer = await server.post<MadeToken>('/tokens', { name: 'viewer', role: 'viewer' });
  const ask = async (query: string, token: string | null) =>
    (await fetch(`${server.url}/api/v1/audit${query}`, { headers: { authorization: `Bearer ${token}` } })).status;
  assert.equal(await ask('', viewer.token), 403);
  assert.equal(await ask('', ada.token), 200);
  for (const query of [
    'limit=0',
    'limit=100000',
    'before=x',
    'before=-1',
    'since=yesterday',
    'action=%25',
    'action=_',
    "action='",
    'actor=%00',
    'subject=',
    `subject=${'x'.repeat(400)}`,
  ]) {
    assert.equal(await ask(`?${query}`, ada.token), 400, query);
  }
});

test('a stream ends with the token that it was opened with', async () => {
  const watcher = await server.post<MadeToken>('/tokens', { name: 'watcher', role: 'viewer' });
  const response = await fetch(`${server.url}/api/v1/events`, {
    headers: { authorization: `Bearer ${watcher.token}` },
  });
  assert.equal(response.status, 200);
  const ended = (async () => {
    for await (const _ of response.body!);
    return 'ended';
  })();
  assert.equal(await Promise.race([ended, setTimeout(300, 'open')]), 'open');
  await server.call('DELETE', '/tokens/watcher');
  assert.equal(await Promise.race([ended, setTimeout(60_000, 'open', { ref: false })]), 'ended');
});
