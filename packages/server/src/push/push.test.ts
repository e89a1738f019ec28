import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { openRepo, push, readRef, setRef } from '@treeline/ostree';
import { scratch } from '../testing/scratch.ts';
import { startTestServer, type TestServer } from '../testing/server.ts';

const ostree = (...args: string[]) => execFileSync('ostree', args, { encoding: 'utf8' }).trim();

/** A repository as a developer has it, made by the stock tool. */
function developer(t: TestContext) {
  const base = scratch(t);
  const [path, folder] = [join(base, 'repo'), join(base, 'tree')];
  mkdirSync(join(folder, 'usr/bin'), { recursive: true });
  writeFileSync(join(folder, 'usr/bin/tool'), 'x'.repeat(10_000), { mode: 0o755 });
  ostree(`--repo=${path}`, 'init', '--mode=bare-user');
  const commit = (branch: string, text: string, ...more: string[]) => {
    writeFileSync(join(folder, 'version'), text);
    return ostree(`--repo=${path}`, 'commit', '-b', branch, '--canonical-permissions', ...more, folder);
  };
  return { path, commit };
}

const urlOf = (server: TestServer) => `${server.url}/api/v1/push/`;
const bearer = (token: string) => ({ Authorization: `Bearer ${token}` });

async function tokenFor(server: TestServer, body: object): Promise<string> {
  const { token } = await server.post<{ token: string }>('/tokens', body);
  return token;
}

async function audited(server: TestServer) {
  const { entries } = await server.get<{ entries: { action: string; [key: string]: unknown }[] }>('/audit?limit=100');
  return entries.filter(({ action }) => action === 'ref.push');
}

test('a commit is pushed into the store; the audit log and the events say so', async (t) => {
  const server = await startTestServer(t);
  const { path, commit } = developer(t);
  const repo = await openRepo(path);
  const [first, second] = [commit('os/main', '1'), commit('os/main', '2')];
  const headers = bearer(server.adminToken);
  await push(repo, urlOf(server), { ref: 'os/main', rev: first, headers });
  const stats = await push(repo, urlOf(server), { ref: 'os/main', headers });
  assert.deepEqual([stats.from, stats.commit], [first, second]);
  const store = join(server.dataDir, 'store');
  ostree(`--repo=${store}`, 'fsck');
  assert.equal(ostree(`--repo=${store}`, 'rev-parse', 'os/main'), second);
  assert.equal(ostree(`--repo=${store}`, 'ls', '-RC', 'os/main'), ostree(`--repo=${path}`, 'ls', '-RC', 'os/main'));
  const [latest, before] = await audited(server);
  assert.deepEqual(
    [latest?.actor, latest?.subject, latest?.data, before?.data],
    ['admin', 'os/main', { commit: second, from: first, forced: false }, { commit: first, from: null, forced: false }],
  );
  const shown = await server.get<{ commit: string }>(`/commits/os/main`);
  assert.equal(shown.commit, second);
});

test('who may push where is what the token says; force is another permission', async (t) => {
  const server = await startTestServer(t);
  const { path, commit } = developer(t);
  const repo = await openRepo(path);
  const [first, other] = [commit('a', '1'), commit('b', '2', '--orphan')];
  const token = await tokenFor(server, { name: 'ann', allow: ['read', 'push'], on: ['ann/**'] });
  const headers = bearer(token);
  await push(repo, urlOf(server), { ref: 'ann/app', rev: first, headers });
  await assert.rejects(push(repo, urlOf(server), { ref: 'os/main', rev: first, headers }), (error: Error) => {
    assert.equal((error as Error & { code: string }).code, 'forbidden');
    assert.match(error.message, /ann may not push os\/main/);
    return true;
  });
  await assert.rejects(push(repo, urlOf(server), { ref: 'ann/app', rev: other, force: true, headers }), {
    code: 'forbidden',
  });
  await push(repo, urlOf(server), { ref: 'ann/app', rev: other, expect: first, headers });
  const lead = await tokenFor(server, { name: 'lead', allow: ['read', 'push', 'force'] });
  await push(repo, urlOf(server), { ref: 'ann/app', rev: first, force: true, headers: bearer(lead) });
  const [forced] = await audited(server);
  assert.deepEqual([forced?.actor, forced?.data], ['lead', { commit: first, from: other, forced: true }]);
  // A token as the password of basic authentication, as a URL can hold it.
  const url = new URL(urlOf(server));
  url.username = 'anybody';
  url.password = lead;
  await push(repo, url.href, { ref: 'ann/other', rev: first });
});

test('without a token, with a wrong one, or with a runner’s, nothing is told or taken', async (t) => {
  const server = await startTestServer(t);
  const { path, commit } = developer(t);
  const repo = await openRepo(path);
  commit('main', '1');
  for (const headers of [{}, bearer('nonsense'), bearer(server.runnerToken)]) {
    await assert.rejects(push(repo, urlOf(server), { ref: 'main', headers }), { code: 'forbidden' });
  }
  assert.equal(await readRef(await openRepo(join(server.dataDir, 'store')), 'main'), null);
});

test('refs that the server keeps for itself are refused by name', async (t) => {
  const server = await startTestServer(t);
  const { path, commit } = developer(t);
  const repo = await openRepo(path);
  const rev = commit('main', '1');
  for (const ref of ['results/x/y', 'sources/app/main', 'results', 'sources']) {
    const pushing = push(repo, urlOf(server), { ref, rev, force: true, headers: bearer(server.adminToken) });
    await assert.rejects(pushing, /are the server's own/);
  }
  await push(repo, urlOf(server), { ref: 'resultset/x', rev, headers: bearer(server.adminToken) });
});

test('a push belongs to whom has begun it', async (t) => {
  const server = await startTestServer(t);
  const [ann, bob] = [
    await tokenFor(server, { name: 'ann', allow: ['read', 'push'] }),
    await tokenFor(server, { name: 'bob', allow: ['read', 'push'] }),
  ];
  const call = (token: string, method: string, at: string, body?: object) =>
    fetch(urlOf(server) + at, {
      method,
      headers: bearer(token),
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
  const opened = await call(ann, 'POST', 'open', { ref: 'main', commit: 'a'.repeat(64) });
  const { id } = (await opened.json()) as { id: string };
  assert.equal((await call(bob, 'POST', `${id}/finish`, { expect: null })).status, 404);
  assert.equal((await call(bob, 'POST', `${id}/missing`)).status, 404);
  await call(bob, 'DELETE', id);
  assert.equal((await call(ann, 'POST', `${id}/missing`)).status, 200);
  // Its answers are those of the API.
  const refused = await call(ann, 'POST', 'open', { ref: '../etc', commit: 'a'.repeat(64) });
  assert.equal(refused.status, 400);
  const { error } = (await refused.json()) as { error: Record<string, unknown> };
  assert.equal(error.code, 'invalid');
  assert.match(String(error.requestId), /^[0-9a-f-]{36}$/);
});

test('a ref that moves in another way is not overwritten', async (t) => {
  const server = await startTestServer(t);
  const { path, commit } = developer(t);
  const repo = await openRepo(path);
  const [first, second] = [commit('main', '1'), commit('main', '2')];
  const headers = bearer(server.adminToken);
  await push(repo, urlOf(server), { ref: 'main', rev: first, headers });
  const store = await openRepo(join(server.dataDir, 'store'));
  await push(repo, urlOf(server), { ref: 'elsewhere', rev: second, headers });
  await setRef(store, 'main', second);
  await assert.rejects(push(repo, urlOf(server), { ref: 'main', rev: first, expect: first, headers }), {
    code: 'conflict',
    current: second,
  });
  assert.equal(await readRef(store, 'main'), second);
});

test('who is not let in is told how a login would help, and when to try again', async (t) => {
  const server = await startTestServer(t);
  const ask = (path: string, token: string | null, method = 'POST') =>
    fetch(`${server.url}${path}`, { method, headers: token === null ? {} : bearer(token) });
  const paths = [
    ['/api/v1/push/open', 'POST'],
    [`/treehub/objects/00/${'0'.repeat(62)}.filez`, 'HEAD'],
    ['/api/v1/store/config', 'GET'],
    ['/repos/no-such/config', 'GET'],
    ['/api/v1/runs', 'GET'],
    ['/api/v1/runner/lease', 'POST'],
  ] as const;
  for (const [path, method] of paths) {
    const none = await ask(path, null, method);
    assert.equal(none.status, 401, path);
    assert.match(none.headers.get('www-authenticate') ?? '', /Bearer realm="Treeline"/, path);
  }
  const viewer = await tokenFor(server, { name: 'viewer', role: 'viewer' });
  const forbidden = await fetch(`${urlOf(server)}open`, {
    ...{ method: 'POST', headers: bearer(viewer) },
    body: JSON.stringify({ ref: 'os/main', commit: 'a'.repeat(64) }),
  });
  assert.deepEqual([forbidden.status, forbidden.headers.get('www-authenticate')], [403, null]);
  for (let tries = 0; tries < 8; tries++) await ask('/api/v1/push/open', `wrong-${tries}`);
  for (const [path, method] of paths) {
    const slowed = await ask(path, 'wrong-again', method);
    assert.equal(slowed.status, 429, path);
    assert.ok(Number(slowed.headers.get('retry-after')) >= 1, path);
  }
});

test('pushes may take what the settings say, and no more', async (t) => {
  const server = await startTestServer(t, { pushBytes: 200_000, pushTotalBytes: 300_000, pushesPerCaller: 1 });
  const base = scratch(t);
  const [path, folder] = [join(base, 'repo'), join(base, 'tree')];
  mkdirSync(folder, { recursive: true });
  ostree(`--repo=${path}`, 'init', '--mode=archive');
  const commit = (branch: string, bytes: number) => {
    writeFileSync(join(folder, 'noise'), randomBytes(bytes));
    return ostree(`--repo=${path}`, 'commit', '-b', branch, '--canonical-permissions', folder);
  };
  const repo = await openRepo(path);
  const headers = bearer(server.adminToken);
  commit('os/small', 100_000);
  assert.equal((await push(repo, urlOf(server), { ref: 'os/small', headers })).from, null);
  commit('os/large', 400_000);
  await assert.rejects(push(repo, urlOf(server), { ref: 'os/large', headers, retries: 0 }), { code: 'no-space' });
  const store = join(server.dataDir, 'store');
  assert.equal(await readRef(await openRepo(store), 'os/large'), null);
  // Another one of the same caller takes the place of the one that could not go on.
  commit('os/next', 150_000);
  await push(repo, urlOf(server), { ref: 'os/next', headers });
  const left = readdirSync(join(store, 'tmp')).filter((name) => name.startsWith('treeline-push-'));
  assert.deepEqual(left, []);
});
