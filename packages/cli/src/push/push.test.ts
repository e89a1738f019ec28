import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { loadSettings, startServer } from '@treeline/server';
import { treeline } from '../testing/command.ts';

const ostree = (...args: string[]) => execFileSync('ostree', args, { encoding: 'utf8' }).trim();

async function setUp(t: TestContext) {
  const base = mkdtempSync(join(tmpdir(), 'treeline-push-'));
  t.after(() => rmSync(base, { recursive: true, force: true, maxRetries: 5 }));
  const data = join(base, 'data');
  const server = await startServer(
    loadSettings({ dataDir: data, port: 0, gatewayPort: 0, runner: false, logLevel: 'silent', hostImage: 'test' }),
  );
  t.after(() => server.close());
  const [repo, tree] = [join(base, 'repo'), join(base, 'tree')];
  mkdirSync(tree);
  ostree(`--repo=${repo}`, 'init', '--mode=archive');
  const commit = (text: string, ...more: string[]) => {
    writeFileSync(join(tree, 'version'), text);
    return ostree(`--repo=${repo}`, 'commit', '-b', 'os/main', '--canonical-permissions', ...more, tree);
  };
  const push = (...args: string[]) => treeline(['push', ...args, '--repo', repo, '--data', data]);
  const there = (ref: string) => ostree(`--repo=${join(data, 'store')}`, 'rev-parse', ref);
  return { server, repo, commit, push, there };
}

test('push sends a commit to the server that is found, says what it did, and goes forward', async (t) => {
  const { server, commit, push, there } = await setUp(t);
  const first = commit('1');
  const dry = await push('os/main', '--dry-run');
  assert.match(dry.stdout, /^os\/main is new there; [0-9a-f]{10} needs 4 objects, /);
  const done = await push('os/main');
  assert.equal(done.code, 0, done.stderr);
  assert.match(done.stdout, new RegExp(`^os/main is now ${first.slice(0, 10)} \\(new\\)\n4 objects, `));
  assert.equal(there('os/main'), first);
  assert.match((await push('os/main')).stdout, /there already/);
  const second = commit('2');
  const json = await push(server.url, 'os/main', '--as', 'other/name', '--json');
  const { commit: sent, from, objects } = JSON.parse(json.stdout) as Record<string, unknown>;
  assert.deepEqual([sent, from, objects], [second, null, 3]);
  assert.equal(there('other/name'), second);
});

test('push refuses to replace what was not named, and says how to', async (t) => {
  const { commit, push, there } = await setUp(t);
  const first = commit('1');
  await push('os/main');
  const orphan = commit('2', '--orphan');
  const refused = await push('os/main');
  assert.equal(refused.code, 6);
  assert.match(refused.stderr, new RegExp(`holds ${first}`));
  assert.match(refused.stderr, new RegExp(`--expect ${first}`));
  assert.equal((await push('os/main', '--expect', 'none')).code, 6);
  assert.equal(there('os/main'), first);
  assert.equal((await push('os/main', '--expect', first)).code, 0);
  assert.equal(there('os/main'), orphan);
  assert.equal((await push('os/main', '--commit', first, '--force')).code, 0);
  assert.equal(there('os/main'), first);
});

test('push to a configured remote remembers what it pushed, and may replace that', async (t) => {
  const { server, repo, commit, push, there } = await setUp(t);
  ostree(`--repo=${repo}`, 'remote', 'add', '--no-gpg-verify', 'hub', `${server.url}/repos/public`);
  const first = commit('1');
  const done = await push('hub', 'os/main');
  assert.equal(done.code, 0, done.stderr);
  assert.equal(ostree(`--repo=${repo}`, 'rev-parse', 'hub:os/main'), first);
  const orphan = commit('2', '--orphan');
  assert.equal((await push('hub', 'os/main')).code, 0);
  assert.equal(there('os/main'), orphan);
});

test('push says what is wrong with what it was told', async (t) => {
  const { server, commit, push } = await setUp(t);
  commit('1');
  const cases: [args: string[], code: number, message: RegExp][] = [
    [['nowhere'], 5, /nowhere/],
    [['elsewhere', 'os/main'], 5, /neither a URL nor a remote/],
    [['a', 'b', 'c'], 2, /one ref too many/],
    [['os/main', '--depth', 'x'], 2, /--depth/],
    [['os/main', '--as', 'results/x'], 4, /server's own/],
    [[server.url, 'os/main', '--token', 'wrong'], 4, /token/],
  ];
  for (const [args, code, message] of cases) {
    const ended = await push(...args);
    assert.equal(ended.code, code, `${args}: ${ended.stderr}`);
    assert.match(ended.stderr, message);
  }
});
