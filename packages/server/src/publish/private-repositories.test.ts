import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { request } from 'node:http';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { promisify } from 'node:util';
import type { AuditPage, MadeToken } from '../access/schema.ts';
import { scratch } from '../testing/scratch.ts';
import { startTestServer, type TestServer } from '../testing/server.ts';

const run = promisify(execFile);
const REF = 'robot/edge';

const cleanUp: (() => unknown)[] = [];
let server: TestServer;
let folder: string;
let commit: string;
let customer: MadeToken;
let stranger: MadeToken;
let clients = 0;

before(async () => {
  const t = { after: (work: () => unknown) => cleanUp.push(work) };
  folder = scratch(t);
  server = await startTestServer(t, { trustedProxies: ['127.0.0.1'] });
  await server.post('/repositories', { name: 'acme' });
  const tree = join(folder, 'tree');
  mkdirSync(tree);
  writeFileSync(join(tree, 'a+b'), 'for customers\n');
  const repo = join(server.dataDir, 'repos/acme');
  const { stdout } = await run('ostree', ['commit', `--repo=${repo}`, '-b', REF, `--tree=dir=${tree}`]);
  commit = stdout.trim();
  customer = await server.post('/tokens', { name: 'customer', allow: ['read'], on: ['acme'] });
  stranger = await server.post('/tokens', { name: 'stranger', allow: ['read'], on: ['other'] });
});
after(async () => {
  for (const work of cleanUp.reverse()) await work();
});

interface Got {
  status: number;
  text: string;
  headers: Record<string, string | string[] | undefined>;
}

function get(path: string, o: { authorization?: string; from?: string; method?: string } = {}): Promise<Got> {
  const { hostname, port } = new URL(server.url);
  const headers = {
    ...(o.authorization === undefined ? {} : { authorization: o.authorization }),
    'x-forwarded-for': o.from ?? '192.0.2.1',
  };
  return new Promise((resolve, reject) => {
    const req = request({ hostname, port, path, headers, method: o.method ?? 'GET' }, (res) => {
      let text = '';
      res.setEncoding('utf8').on('data', (chunk: string) => {
        text += chunk;
      });
      res.on('end', () => resolve({ status: res.statusCode ?? 0, text, headers: res.headers }));
    });
    req.on('error', reject);
    req.end();
  });
}

const basic = (user: string, password: string) => `Basic ${Buffer.from(`${user}:${password}`).toString('base64')}`;
const bearer = (token: string) => `Bearer ${token}`;

/** Pulls with the stock client. */
async function pull(url: string, ...flags: string[]): Promise<{ ok: boolean; stderr: string }> {
  clients += 1;
  const repo = join(folder, `client-${clients}`);
  await run('ostree', ['init', `--repo=${repo}`, '--mode=bare-user-only']);
  await run('ostree', ['remote', 'add', `--repo=${repo}`, '--no-gpg-verify', 'acme', url]);
  try {
    await run('ostree', ['pull', `--repo=${repo}`, '--network-retries=0', ...flags, 'acme', REF]);
    await run('ostree', ['fsck', `--repo=${repo}`]);
    assert.equal((await run('ostree', ['rev-parse', `--repo=${repo}`, `acme:${REF}`])).stdout.trim(), commit);
    return { ok: true, stderr: '' };
  } catch (error) {
    return { ok: false, stderr: (error as { stderr?: string }).stderr ?? String(error) };
  }
}

test('the stock client pulls with the token in the URL, and with it in a header', async () => {
  const url = `${server.url}/repos/acme`;
  const withPassword = url.replace('http://', `http://anybody:${customer.token}@`);
  assert.deepEqual(await pull(withPassword), { ok: true, stderr: '' });
  assert.deepEqual(await pull(url, `--http-header=Authorization=Bearer ${customer.token}`), { ok: true, stderr: '' });
});

test('without a token, with one for something else, or with a revoked one, it does not', async () => {
  const url = `${server.url}/repos/acme`;
  assert.match((await pull(url)).stderr, /HTTP 401/);
  assert.match((await pull(url.replace('http://', `http://x:${stranger.token}@`))).stderr, /HTTP 40[34]/);
  const late = await server.post<MadeToken>('/tokens', { name: 'late', allow: ['read'], on: ['acme'] });
  await server.call('DELETE', '/tokens/late');
  assert.match((await pull(url, `--http-header=Authorization=Bearer ${late.token}`)).stderr, /HTTP 401/);
});

test('nobody learns which private repositories there are', async () => {
  for (const authorization of [undefined, bearer(stranger.token!), basic('x', stranger.token!), 'Nonsense']) {
    const o = authorization === undefined ? {} : { authorization };
    const [there, not] = await Promise.all([get('/repos/acme/config', o), get('/repos/acne/config', o)]);
    const known = authorization?.includes(' ') === true;
    assert.equal(there.status, known ? 403 : 401);
    assert.equal(there.text.replace('acme', ''), not.text.replace('acne', ''));
    const { date: _, ...headers } = there.headers;
    const { date: __, ...others } = not.headers;
    assert.deepEqual(headers, others);
    // A login helps who has none yet; it does not help who is known and may not.
    assert.equal('www-authenticate' in headers, !known);
  }
  // Who may read everything is told the truth.
  assert.equal((await get('/repos/acne/config', { authorization: bearer(server.adminToken) })).status, 404);
  assert.equal((await get('/repos/acme/config', { authorization: bearer(server.runnerToken) })).status, 403);
});

test('what is private is kept by no cache that is shared', async () => {
  const object = `/repos/acme/objects/${commit.slice(0, 2)}/${commit.slice(2)}.commit`;
  const authorization = basic('', customer.token!);
  const got = await get(object, { authorization });
  assert.equal(got.status, 200);
  assert.match(String(got.headers['cache-control']), /^private, .*immutable/);
  assert.match(
    String((await get(`/repos/acme/refs/heads/${REF}`, { authorization })).headers['cache-control']),
    /^private/,
  );
  assert.equal((await get(object, { authorization, method: 'HEAD' })).text, '');
  assert.equal((await get(object)).headers['cache-control'], 'no-store');
});

test('a repository that becomes public or private is so from then on', async () => {
  await server.call('PATCH', '/repositories/acme', { access: 'public' });
  const open = await get('/repos/acme/config');
  assert.equal(open.status, 200);
  assert.doesNotMatch(String(open.headers['cache-control']), /private/);
  await server.call('PATCH', '/repositories/acme', { access: 'private' });
  assert.equal((await get('/repos/acme/config')).status, 401);
});

test('the API takes no passwords: a browser would send them for pages of others', async () => {
  assert.equal((await get('/api/v1/status', { authorization: basic('x', server.adminToken) })).status, 401);
});

test('guessing is slowed down at the address it comes from, and counted; a right token is not held up', async () => {
  const guess = (n: number) => `tl_${String(n).padStart(46, '0')}`;
  const from = '198.51.100.7';
  const statuses = await Promise.all(
    Array.from(
      { length: 30 },
      async (_, n) => (await get('/repos/acme/config', { authorization: basic('x', guess(n)), from })).status,
    ),
  );
  assert.deepEqual(
    [...new Set(statuses)].sort((a, b) => a - b),
    [401, 429],
  );
  const refused = statuses.filter((status) => status === 401).length;
  assert.ok(refused >= 6 && refused < 12, `${refused} answered`);
  // The API and the repositories count together.
  const slowed = await get('/api/v1/status', { authorization: bearer('x'.repeat(43)), from });
  assert.equal(slowed.status, 429);
  assert.ok(Number(slowed.headers['retry-after']) >= 1);
  const started = performance.now();
  for (const o of [{ from }, { from: '203.0.113.1' }]) {
    assert.equal((await get('/repos/acme/config', { authorization: bearer(customer.token!), ...o })).status, 200);
    assert.equal((await get('/api/v1/status', { authorization: bearer(server.adminToken), ...o })).status, 200);
  }
  assert.ok(performance.now() - started < 20_000);
  for (let look = 0; ; look += 1) {
    const { entries } = await server.get<AuditPage>(`/audit?action=login.failed&address=${from}`);
    if (entries.length > 0) {
      assert.equal(entries.length, 1);
      const { actor, subject, data } = entries[0]!;
      assert.deepEqual([actor, subject, data.count], ['nobody', from, refused]);
      break;
    }
    assert.ok(look < 600, 'failed logins are written down');
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
});

test('hostile credentials are refused, whatever they are', async () => {
  for (const [n, authorization] of [
    'Basic',
    'Basic ====',
    `Basic ${'A'.repeat(6000)}`,
    basic('x', ''),
    basic('', ''),
    basic('\0', '\0'),
    basic('x', 'tl_\u{1F332}'),
    `Bearer ${'x'.repeat(8000)}`,
    'Bearer \x80\xff',
    "Bearer ' or 1=1 --",
    'Bearer tl_',
    'Digest username="x"',
    ',',
  ].entries()) {
    const { status, text } = await get('/repos/acme/config', { authorization, from: `203.0.113.${n}` });
    assert.equal(status, 401, authorization.slice(0, 30));
    assert.ok(!text.includes('    at '), text);
  }
});
