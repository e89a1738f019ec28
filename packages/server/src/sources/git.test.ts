import assert from 'node:assert/strict';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { type AddressInfo, createServer } from 'node:net';
import { test } from 'node:test';
import { createGitRepository } from '../testing/git-repository.ts';
import { scratch } from '../testing/scratch.ts';
import { checkRevision, checkUrl, git } from './git.ts';
import { fetchMirror, mirrorAt, remoteHead, resolveRevision } from './mirror.ts';

const limits = { timeoutSeconds: 20 };

test('texts that git would take as an option or a command are no URLs', async (t) => {
  const marker = `${scratch(t)}/was-run`;
  const hostile = [
    '--upload-pack=touch x',
    '-oProxyCommand=touch x',
    `ext::sh -c "touch% ${marker}"`,
    'fd::17',
    'javascript://x',
    'https://x\ny',
    'remote-helper::https://x',
    'https://user:password@host/x',
    'https://token@host/x',
    '../app',
    'app.git',
  ];
  for (const url of hostile) {
    assert.throws(() => checkUrl(url), { code: 'source-invalid' }, url);
    await assert.rejects(remoteHead(url, 'main', limits), { code: 'source-invalid' });
  }
  assert.ok(!existsSync(marker));
});

test('the usual forms of URLs are accepted', () => {
  for (const url of [
    '/srv/git/app.git',
    'file:///srv/app',
    'https://h/a.git',
    'ssh://git@h/a',
    'git@host:group/a.git',
  ]) {
    checkUrl(url);
  }
});

test('git itself refuses a remote helper that a redirection or an insteadOf rule would bring in', async (t) => {
  const marker = `${scratch(t)}/was-run`;
  const args = ['-c', `url.ext::sh -c "touch% ${marker}".insteadOf=x:`, 'ls-remote', '--', 'x:y'];
  await assert.rejects(git(args, limits), { code: 'source-unreachable', message: /not allowed/ });
  assert.ok(!existsSync(marker));
});

test('texts that are no branch or revision are refused', () => {
  for (const text of ['', '-x', '--all', 'a..b', 'a b', 'x:y', '@{-1}', 'HEAD^{/x}', 'a\nb', 'x.lock', '../x']) {
    assert.throws(() => checkRevision(text), { code: 'source-invalid' }, text);
  }
  for (const text of ['main', 'feature/x-1', 'v1.2.3', 'deadbeef']) checkRevision(text);
});

test('no repository, an empty one, and a missing branch are different clear errors', async (t) => {
  const folder = scratch(t);
  await assert.rejects(remoteHead(`${folder}/none`, undefined, limits), {
    code: 'source-unreachable',
    message: /does not appear to be a git repository/,
    hint: /Check the URL/,
  });
  const repo = createGitRepository(`${folder}/repo`);
  await assert.rejects(remoteHead(repo.path, undefined, limits), {
    code: 'source-invalid',
    hint: /Push a commit first/,
  });
  await assert.rejects(remoteHead(repo.path, 'main', limits), { hint: /no branches yet/ });
  repo.commit('one', { a: '1' });
  repo.git('branch', 'stable');
  await assert.rejects(remoteHead(repo.path, 'mian', limits), {
    code: 'source-invalid',
    message: /no branch "mian"/,
    hint: /main, stable/,
  });
});

test('without a branch the one that HEAD names is followed', async (t) => {
  const repo = createGitRepository(`${scratch(t)}/repo`);
  const revision = repo.commit('one', { a: '1' });
  assert.deepEqual(await remoteHead(repo.path, undefined, limits), { branch: 'main', revision });
});

test('a mirror gets new, forced and deleted branches, and resolves revisions', async (t) => {
  const folder = scratch(t);
  const repo = createGitRepository(`${folder}/repo`);
  const one = repo.commit('one', { a: '1' });
  const mirror = mirrorAt(folder, 'app', repo.path);
  await fetchMirror(mirror, limits);
  assert.equal(await resolveRevision(mirror, 'main', limits), one);
  repo.git('tag', 'v1');
  repo.git('reset', '--quiet', '--hard');
  repo.git('commit', '--quiet', '--amend', '--message', 'uno');
  const forced = repo.git('rev-parse', 'HEAD');
  await fetchMirror(mirror, limits);
  assert.equal(await resolveRevision(mirror, 'main', limits), forced);
  assert.equal(await resolveRevision(mirror, 'v1', limits), one);
  assert.equal(await resolveRevision(mirror, forced.slice(0, 8), limits), forced);
  await assert.rejects(resolveRevision(mirror, 'nope', limits), { code: 'source-invalid', message: /nope/ });
});

test('a git whose server never answers is ended at the time limit, and the error says so', async (t) => {
  const silent = createServer(() => {}).listen(0, '127.0.0.1');
  await once(silent, 'listening');
  t.after(() => silent.close());
  const sockets: { destroy(): void }[] = [];
  silent.on('connection', (socket) => sockets.push(socket));
  const url = `git://127.0.0.1:${(silent.address() as AddressInfo).port}/x`;
  const before = Date.now();
  await assert.rejects(remoteHead(url, 'main', { timeoutSeconds: 0.3 }), {
    code: 'source-unreachable',
    message: /did not end within 0.3 s/,
  });
  assert.ok(Date.now() - before < 30_000);
  for (const socket of sockets) socket.destroy();
});
