import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { type RepositoryServer, serveRepository } from '@treeline/ostree';
import { treeline } from '../testing/command.ts';

async function setUp(t: TestContext) {
  const base = mkdtempSync(join(tmpdir(), 'treeline-mirror-'));
  t.after(() => rmSync(base, { recursive: true, force: true }));
  const theirs = join(base, 'theirs');
  mkdirSync(join(base, 'tree'));
  execFileSync('ostree', ['init', `--repo=${theirs}`, '--mode=archive']);
  const ostree = (...args: string[]) => execFileSync('ostree', args, { encoding: 'utf8' }).trim();
  const commit = (ref: string, text: string) => {
    writeFileSync(join(base, 'tree/file'), text);
    const made = ostree('commit', `--repo=${theirs}`, '-b', ref, `--tree=dir=${join(base, 'tree')}`);
    ostree('summary', `--repo=${theirs}`, '-u');
    return made;
  };
  const server: RepositoryServer = await serveRepository(theirs);
  t.after(() => server.close());
  return { base, theirs, mirror: join(base, 'mirror'), commit, ostree, url: server.url };
}

test('it says in a line what has changed, and ends when it is to look once', async (t) => {
  const { mirror, commit, ostree, url } = await setUp(t);
  const one = commit('os/stable', 'one');
  commit('app/x', 'x');
  const first = await treeline(['mirror', url, mirror, '--once']);
  assert.deepEqual([first.code, first.stderr], [0, '']);
  assert.match(
    first.stdout,
    new RegExp(`os/stable is now ${one.slice(0, 10)} \\(new\\)\n.* objects, .* their summary`),
  );
  assert.match((await treeline(['mirror', url, mirror, '--once'])).stdout, /mirror is up to date\n$/);
  const two = commit('os/stable', 'two');
  const { stdout } = await treeline(['mirror', url, `${mirror}-os`, '--ref', 'os/*', '--once', '--json']);
  const { refs, summary } = JSON.parse(stdout) as { refs: unknown; summary: string };
  assert.deepEqual([refs, summary], [[{ name: 'os/stable', from: null, to: two }], 'own']);
  assert.equal(ostree('rev-parse', `--repo=${mirror}-os`, 'os/stable'), two);
  ostree('fsck', `--repo=${mirror}-os`);
});

test('it follows until it is stopped, over what passes', async (t) => {
  const { theirs, mirror, commit, ostree, url } = await setUp(t);
  commit('os/stable', 'one');
  let [two, step] = ['', 0];
  const ended = await treeline(['mirror', url, mirror, '--every', '1s', '--json'], {
    onOutput(stdout, stderr, kill) {
      const lines = stdout.split('\n').filter((line) => line !== '').length;
      if (step === 0 && lines === 1) {
        step = 1;
        rmSync(join(theirs, 'summary')); // for a moment there is nothing to be seen
      } else if (step === 1 && stderr.includes('\n')) {
        step = 2;
        two = commit('os/stable', 'two');
      } else if (step === 2 && lines === 2) {
        step = 3;
        kill('SIGTERM');
      }
    },
  });
  assert.equal(ended.code, 0, ended.stderr);
  const [, last] = ended.stdout.trim().split('\n');
  assert.equal((JSON.parse(last!) as { refs: { to: string }[] }).refs[0]!.to, two);
  assert.equal((JSON.parse(ended.stderr.split('\n')[0]!) as { error: { code: string } }).error.code, 'not-found');
  assert.equal(ostree('rev-parse', `--repo=${mirror}`, 'os/stable'), two);
});

test('what cannot be is refused with what to do', async (t) => {
  const { base, mirror, commit, url } = await setUp(t);
  commit('os/stable', 'one');
  const cases: [args: string[], code: number, says: RegExp][] = [
    [[url, mirror, '--ref', 'none'], 5, /No such branch 'none'/],
    [[url, mirror, '--ref', '../x'], 2, /no ref can have such a name/],
    [[url, mirror, '--ed25519-key', Buffer.alloc(32, 1).toString('base64')], 1, /not signed[\s\S]*--unsigned-summary/],
    [[url, mirror, '--gpg-key', join(base, 'none')], 5, /cannot be read/],
    [[url, mirror, '--header', 'nonsense'], 2, /header/],
    [[url, mirror, '--tls-key', join(base, 'tree/file')], 2, /go together/],
    [[url.replace(/\d+$/, '1'), mirror], 1, /connect|refused/i],
  ];
  for (const [args, code, says] of cases) {
    const ended = await treeline(['mirror', ...args, '--once']);
    assert.match(ended.stderr, says, args.join(' '));
    assert.deepEqual([ended.code, ended.stdout], [code, ''], `${args.join(' ')}: ${ended.stderr}`);
  }
});
