import assert from 'node:assert/strict';
import { readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { cookiesFor, parseCookies } from '../http/cookies.ts';
import { proxyFor } from '../http/proxy.ts';
import { createRepo, openRepo } from '../repo/repo.ts';
import { scratchFolder } from '../testing/scratch.ts';
import { addCookie, deleteCookie, listCookies } from './cookie-jar.ts';
import { remoteOptions } from './remote-config.ts';

async function configured(t: Parameters<typeof scratchFolder>[0], ...lines: string[]) {
  const path = scratchFolder(t);
  await createRepo(path);
  writeFileSync(
    join(path, 'config'),
    `${readFileSync(join(path, 'config'), 'utf8')}\n[remote "r"]\n${lines.join('\n')}\n`,
  );
  return openRepo(path);
}

test('what a remote is configured to be like is read as libostree does', async (t) => {
  const ca = join(scratchFolder(t), 'ca.pem');
  writeFileSync(ca, 'authority');
  const repo = await configured(
    t,
    'url=mirrorlist=http://x/list',
    'contenturl=http://content',
    'branches=a/b;c\\;d;',
    'proxy=proxy:3128',
    `tls-ca-path=${ca}`,
    'tls-permissive=1',
    'http2=false',
    'http-headers=X-A=1;X-B = 2;',
    'collection-id=org.example.C',
  );
  const { cookies, ...options } = await remoteOptions(repo, 'r');
  assert.deepEqual(options, {
    url: 'mirrorlist=http://x/list',
    contentUrl: 'http://content',
    branches: ['a/b', 'c;d'],
    collectionId: 'org.example.C',
    proxy: 'proxy:3128',
    tls: { ca: Buffer.from('authority'), permissive: true },
    headers: { 'X-A': '1', 'X-B': '2' },
  });
  assert.deepEqual(cookies, []);
  const overridden = await remoteOptions(repo, 'r', 'http://other');
  assert.deepEqual([overridden.url, overridden.contentUrl], ['http://other', undefined]);
  const linked = await remoteOptions(await configured(t, 'metalink=http://m', 'contenturl=http://c'), 'r', 'http://o');
  assert.deepEqual([linked.metalink, linked.contentUrl], ['http://m', 'http://c']);
});

test('a configuration that makes no sense is refused with what is wrong about it', async (t) => {
  const bad: [string[], object][] = [
    [['branches=x'], { code: 'invalid', message: 'No "url" option in remote "r"' }],
    [['url=http://x', 'tls-permissive=maybe'], { code: 'invalid', message: /tls-permissive is "maybe"/ }],
    [['url=http://x', 'http2=2'], { code: 'invalid' }],
    [['url=http://x', 'tls-client-cert-path=/x'], { code: 'invalid', message: /must specify both/ }],
    [
      ['url=http://x', 'tls-ca-path=/none/such'],
      { code: 'not-found', message: /tls-ca-path: cannot read \/none\/such/ },
    ],
    [
      ['url=http://x', 'tls-client-cert-path=pkcs11:a', 'tls-client-key-path=pkcs11:b'],
      { code: 'unsupported', message: /hardware/ },
    ],
    [['url=http://x', 'proxy=socks5://y'], { code: 'unsupported' }],
    [['url=http://x', 'http-headers=nothing'], { code: 'invalid' }],
    [['url=http://x', 'unconfigured-state=Buy first'], { message: 'remote unconfigured-state: Buy first' }],
    [['url=http://x', 'custom-backend=rpm'], { message: /remote 'r' uses custom backend 'rpm'/ }],
  ];
  for (const [lines, error] of bad) await assert.rejects(remoteOptions(await configured(t, ...lines), 'r'), error);
  await assert.rejects(remoteOptions(await configured(t, 'url=http://x'), 'other'), { code: 'not-found' });
});

test('cookies are added, listed and deleted as in a jar of curl', async (t) => {
  const repo = await configured(t, 'url=http://x');
  const cookie = { domain: '127.0.0.1', path: '/', name: 'foo', value: 'bar' };
  await addCookie(repo, 'r', cookie);
  await addCookie(repo, 'r', { ...cookie, domain: '.example.com', name: 'baz' });
  const jar = join(repo.path, 'r.cookies.txt');
  assert.match(readFileSync(jar, 'utf8'), /^127\.0\.0\.1\tFALSE\t\/\tFALSE\t\d+\tfoo\tbar\n\.example\.com\tTRUE\t/);
  assert.equal(statSync(jar).mode & 0o077, 0);
  assert.equal((await remoteOptions(repo, 'r')).cookies?.length, 2);
  await deleteCookie(repo, 'r', cookie);
  assert.deepEqual(
    (await listCookies(repo, 'r')).map(({ name }) => name),
    ['baz'],
  );
  await assert.rejects(deleteCookie(repo, 'r', cookie), { message: 'Cookie not found in jar' });
  await assert.rejects(addCookie(repo, 'r', { ...cookie, value: 'a\nb' }), { code: 'invalid' });
  await assert.rejects(addCookie(repo, '../r', cookie), { code: 'invalid' });
});

test('a cookie goes to its host and path alone', () => {
  const cookies = parseCookies('# jar\n#HttpOnly_.example.com\tTRUE\t/a\tFALSE\t0\tx\ty\nbroken line\n');
  const sent = (url: string) => cookiesFor(cookies, new URL(url), new URL(url).pathname);
  assert.deepEqual(
    ['http://example.com/a', 'http://sub.example.com/a/b', 'http://badexample.com/a', 'http://example.com/ab'].map(
      sent,
    ),
    ['x=y', 'x=y', '', ''],
  );
});

test('the environment names a proxy, and whom not to reach through it', () => {
  const to = (url: string, env: Record<string, string>, configured?: string) =>
    proxyFor(new URL(url), configured, env)?.url.host ?? null;
  assert.equal(to('http://x', { http_proxy: 'p:3128' }), 'p:3128');
  assert.equal(to('http://x', { HTTP_PROXY: 'p:3128' }), null);
  assert.equal(to('https://x', { HTTPS_PROXY: 'http://p:3128' }), 'p:3128');
  assert.equal(to('https://x', { all_proxy: 'http://p:3128' }), 'p:3128');
  assert.equal(to('http://x', { http_proxy: 'p:1' }, 'q:2'), 'q:2');
  assert.deepEqual(proxyFor(new URL('http://x'), 'http://a:b@p:1', {})?.authorization, 'Basic YTpi');
  const exempt = (url: string, no_proxy: string) => to(url, { http_proxy: 'p:1', no_proxy }) === null;
  assert.ok(exempt('http://a.example.com', 'localhost, .example.com'));
  assert.ok(exempt('http://example.com', 'example.com'));
  assert.ok(exempt('http://10.1.2.3', '10.0.0.0/8'));
  assert.ok(exempt('http://[::1]:80', '::1'));
  assert.ok(exempt('http://x', '*'));
  assert.ok(exempt('http://x:8080', 'x:8080'));
  assert.ok(!exempt('http://x:8080', 'x:80'));
  assert.ok(!exempt('http://badexample.com', 'example.com'));
  assert.ok(!exempt('http://11.1.2.3', '10.0.0.0/8'));
});
