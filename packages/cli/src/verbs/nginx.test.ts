import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { treeline } from '../testing/command.ts';

// What nginx does with these is in e2e/nginx.test.ts; here, what is printed, and that nginx understands it.

function scratch(t: TestContext): string {
  const folder = mkdtempSync(join(tmpdir(), 'treeline-nginx-'));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

/** What nginx says of a configuration; an empty text when it is content. */
function check(folder: string, http: string): string {
  const file = join(folder, 'nginx.conf');
  const paths = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map(
    (kind) => `${kind}_temp_path ${folder}/${kind};`,
  );
  writeFileSync(file, `pid ${folder}/pid;\nevents {}\nhttp {\n${paths.join('\n')}\n${http}\n}\n`);
  const { status, stderr } = spawnSync('nginx', ['-t', '-q', '-p', folder, '-c', file, '-e', join(folder, 'errors')], {
    encoding: 'utf8',
  });
  return status === 0 ? '' : stderr;
}

test('both configurations are ones that nginx takes, with TLS and without', async (t) => {
  const folder = scratch(t);
  const [certificate, key] = [join(folder, 'certificate.pem'), join(folder, 'key.pem')];
  const request = ['req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-subj', '/CN=dl.example.org', '-days', '2'];
  execFileSync('openssl', [...request, '-keyout', key, '-out', certificate], { stdio: 'ignore' });
  const tls = ['--tls-certificate', certificate, '--tls-key', key, '--listen', '127.0.0.1:8443'];
  const names = ['--name', 'dl.example.org', '--name', 'dl2.example.org'];
  const front = ['nginx', 'front', '--repos', join(folder, 'with "quotes" {62} in'), '--state', join(folder, 'state')];
  const cache = [
    'nginx',
    'cache',
    'https://localhost/repos/pub+lic.x',
    '--cache',
    join(folder, 'cache'),
    '--size',
    '7g',
  ];
  for (const args of [front, cache]) {
    for (const more of [
      ['--listen', '127.0.0.1:8080'],
      [...tls, ...names],
    ]) {
      const { code, stdout, stderr } = await treeline([...args, ...more]);
      assert.deepEqual([code, stderr], [0, '']);
      assert.equal(check(folder, stdout), '', stdout);
      assert.match(stdout, more === tls ? /ssl http2/ : /listen 127/);
    }
  }
  const { stdout } = await treeline([...cache, ...tls, ...names, '--log', 'here.log']);
  assert.match(stdout, /server_name dl\.example\.org dl2\.example\.org;/);
  assert.match(stdout, /max_size=7g/);
  assert.match(stdout, /"\^\/repos\/pub\\\+lic\\\.x\//);
  assert.match(stdout, new RegExp(`access_log "${process.cwd()}/here.log"`));
});

test('it says where the server is that it found, and listens where TLS is expected', async (t) => {
  const folder = scratch(t);
  writeFileSync(join(folder, 'server.json'), JSON.stringify({ url: 'http://127.0.0.1:9123' }));
  const { stdout } = await treeline(['nginx', 'front', '--data', folder, '--tls-certificate', '/c', '--tls-key', '/k']);
  assert.match(stdout, /server 127\.0\.0\.1:9123;/);
  assert.match(stdout, /listen 443 ssl/);
  assert.ok(stdout.includes(`alias "${folder}/repos/$treeline_repository/$treeline_path";`));
  assert.match((await treeline(['nginx', 'front'])).stdout, /server 127\.0\.0\.1:8420;\n[\s\S]*listen 80;/);
});

test('what would be another configuration than was meant is refused', async () => {
  for (const args of [
    ['front', '--listen', '80; }'],
    ['front', '--name', 'a b'],
    ['front', '--repos', '/srv/$host'],
    ['front', '--tls-key', '/k'],
    ['front', '--upstream', 'https://127.0.0.1:1'],
    ['cache', 'ftp://example.org/'],
    ['cache', 'https://u:p@example.org/'],
    ['cache', 'https://example.org/$uri'],
    ['cache', 'https://example.org/', '--size', 'much'],
    ['cache'],
    ['both'],
  ]) {
    const { code, stdout, stderr } = await treeline(['nginx', ...args]);
    assert.deepEqual([code, stdout], [2, ''], args.join(' '));
    assert.match(stderr, /^treeline: /);
  }
  assert.match((await treeline(['nginx'])).stdout, /front[\s\S]*cache/);
});
