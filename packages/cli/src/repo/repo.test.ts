import assert from 'node:assert/strict';
import { type SpawnSyncReturns, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { fileURLToPath } from 'node:url';

const bin = fileURLToPath(new URL('../../bin/treeline.js', import.meta.url));

function ours(...args: string[]): SpawnSyncReturns<string> {
  return spawnSync(process.execPath, [bin, 'repo', ...args], { encoding: 'utf8' });
}

function theirs(...args: string[]): SpawnSyncReturns<string> {
  return spawnSync('ostree', args, { encoding: 'utf8' });
}

/** What ours prints, after checking that it succeeded. */
function output(...args: string[]): string {
  const { status, stdout, stderr } = ours(...args);
  assert.equal(status, 0, `treeline repo ${args.join(' ')}\n${stderr}`);
  return stdout;
}

function scratch(t: TestContext): string {
  const folder = mkdtempSync(join(tmpdir(), 'treeline-repo-'));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

/** A folder with a bit of everything, at its first or second version. */
function fill(folder: string, version: 1 | 2): void {
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(join(folder, 'sub/deep'), { recursive: true });
  writeFileSync(join(folder, 'file'), 'same');
  writeFileSync(join(folder, 'changes'), `version ${version}`);
  writeFileSync(join(folder, 'sub/deep/x'), '');
  chmodSync(join(folder, 'file'), 0o4755);
  if (version === 1) symlinkSync('file', join(folder, 'link'));
  else mkdirSync(join(folder, 'new/er'), { recursive: true });
}

function repoWithHistory(t: TestContext): { base: string; repo: string } {
  const base = scratch(t);
  const repo = join(base, 'repo');
  const tree = join(base, 'tree');
  theirs('init', `--repo=${repo}`, '--mode=archive');
  fill(tree, 1);
  theirs(
    `--repo=${repo}`,
    'commit',
    '-b',
    'robot/edge',
    '-s',
    'first',
    '-m',
    'with\nbody',
    `--tree=dir=${tree}`,
    '--add-metadata-string=version=1.0',
  );
  fill(tree, 2);
  theirs(
    `--repo=${repo}`,
    'commit',
    '-b',
    'robot/edge',
    '-s',
    'second',
    `--tree=dir=${tree}`,
    '--add-detached-metadata-string=k=v',
  );
  theirs(`--repo=${repo}`, 'refs', '--create=other', 'robot/edge^');
  theirs(`--repo=${repo}`, 'remote', 'add', '--no-gpg-verify', 'origin', 'http://localhost:1/');
  theirs(`--repo=${repo}`, 'summary', '-u');
  return { base, repo };
}

test('prints what ostree prints, with its exit codes', (t) => {
  const { repo } = repoWithHistory(t);
  const at = `--repo=${repo}`;
  const commands = [
    'refs',
    'refs robot',
    'refs --list robot',
    'rev-parse robot/edge robot/edge^ other',
    'log robot/edge',
    'show robot/edge',
    'show robot/edge^',
    'show --print-metadata-key=version other',
    'show --print-metadata-key=ostree.ref-binding robot/edge',
    'show --print-detached-metadata-key=k robot/edge',
    'ls robot/edge',
    'ls -R robot/edge',
    'ls -RCX other',
    'ls -d robot/edge /sub',
    'ls robot/edge /sub/deep/x file',
    'ls -R --nul-filenames-only robot/edge',
    'cat robot/edge /changes /file',
    'diff robot/edge',
    'diff other robot/edge',
    'diff --stats other robot/edge',
    'config get core.mode',
    'remote list',
    'remote list -u',
    'remote show-url origin',
    'summary -v',
  ];
  for (const command of commands) {
    const args = [at, ...command.split(' ')];
    const [a, b] = [ours(...args), theirs(...args)];
    assert.equal(b.status, 0, `ostree ${command}: ${b.stderr}`);
    // This version of ostree lists refs in no order.
    const lines = (text: string) => (command.startsWith('refs') ? text.split('\n').sort() : text);
    assert.deepEqual(lines(a.stdout), lines(b.stdout), command);
    assert.equal(a.status, 0, `${command}: ${a.stderr}`);
  }
});

test('fails where ostree fails, with its message', (t) => {
  const { repo } = repoWithHistory(t);
  for (const command of [
    'rev-parse nope',
    'ls nope',
    'cat robot/edge /nope',
    'ls robot/edge /nope',
    'show --print-metadata-key=nope robot/edge',
    'refs --create=other robot/edge',
    'remote show-url nope',
    'remote add origin http://x',
    'config get core.nope',
    'ls --nope robot/edge',
  ]) {
    const args = [...command.split(' '), `--repo=${repo}`];
    const [a, b] = [ours(...args), theirs(...args)];
    const last = (text: string) => text.split('\n').find((line) => line.startsWith('error: '));
    assert.equal(b.status, 1, command);
    assert.equal(a.status, 1, command);
    assert.equal(last(a.stderr), last(b.stderr), command);
    assert.equal(a.stdout, '', command);
  }
});

test('what is wrong with the command line is said without a stack', (t) => {
  const base = scratch(t);
  for (const args of [
    [],
    ['nope'],
    ['ls'],
    ['init', '--mode=nope', `--repo=${base}/x`],
    ['refs', `--repo=${base}`],
    ['commit', `--repo=${base}`],
  ]) {
    const { status, stderr } = ours(...args);
    assert.equal(status, 1, args.join(' '));
    assert.match(stderr, /error: /, args.join(' '));
    assert.doesNotMatch(stderr, /\n\s+at /, args.join(' '));
  }
  assert.match(output('ls', '--help'), /-R, --recursive/);
  assert.match(output('--help'), /rev-parse/);
});

test('the same commit has the same checksum as ostree gives it', (t) => {
  const base = scratch(t);
  const tree = join(base, 'tree');
  fill(tree, 1);
  const [a, b] = [join(base, 'a'), join(base, 'b')];
  output('init', `--repo=${a}`, '--mode=archive');
  theirs('init', `--repo=${b}`, '--mode=archive');
  const options = [
    '-b',
    'x',
    '-s',
    'subject',
    '-m',
    'body',
    '--timestamp=@1700000000',
    '--add-metadata-string=k=v',
    '--bind-ref=z',
  ];
  const commands = [
    [...options, `--tree=dir=${tree}`],
    [...options, '--tree=ref=x', `--tree=dir=${tree}/sub`],
    [...options, `--tree=dir=${tree}/sub`, '--owner-uid=1', '--owner-gid=2'],
    [...options, `--tree=dir=${tree}`, '--canonical-permissions', '--parent=none'],
    [...options, '--no-bindings', tree],
  ];
  for (const command of commands) {
    assert.equal(
      output('commit', `--repo=${a}`, ...command),
      theirs('commit', `--repo=${b}`, ...command).stdout,
      command.join(' '),
    );
  }
  const before = output('rev-parse', `--repo=${a}`, 'x');
  assert.equal(output('commit', `--repo=${a}`, '-b', 'x', '--skip-if-unchanged', tree), before);
  assert.equal(theirs('fsck', `--repo=${a}`).status, 0);
});

test('a tar from standard input is committed', (t) => {
  const base = scratch(t);
  fill(join(base, 'tree'), 1);
  const tar = spawnSync('tar', ['-C', join(base, 'tree'), '-czf', '-', '.']).stdout;
  const repo = join(base, 'repo');
  output('init', `--repo=${repo}`, '--mode=archive');
  const args = [bin, 'repo', 'commit', `--repo=${repo}`, '-b', 'x', '--tree=tar=-'];
  const { status, stderr } = spawnSync(process.execPath, args, { input: tar, encoding: 'utf8' });
  assert.equal(status, 0, stderr);
  assert.equal(output('cat', `--repo=${repo}`, 'x', '/changes'), 'version 1');
});

test('checks out, pulls, serves and checks', async (t) => {
  const { base, repo } = repoWithHistory(t);
  output('checkout', `--repo=${repo}`, '-U', 'robot/edge', join(base, 'out'));
  assert.equal(readFileSync(join(base, 'out/changes'), 'utf8'), 'version 2');
  assert.equal(ours('checkout', `--repo=${repo}`, '-U', 'robot/edge', join(base, 'out')).status, 1);
  const clone = join(base, 'clone');
  output('init', `--repo=${clone}`, '--mode=archive');
  // `other` was made for robot/edge: its binding says so.
  assert.equal(ours('pull-local', `--repo=${clone}`, repo, 'other').status, 1);
  const pulled = output('pull-local', `--repo=${clone}`, '--disable-verify-bindings', repo, 'other');
  assert.match(pulled, /metadata, .* content objects imported/);

  const server = spawn(process.execPath, [bin, 'repo', 'serve', `--repo=${repo}`], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  t.after(() => server.kill('SIGKILL'));
  const [line] = (await once(server.stdout, 'data')) as [Buffer];
  const url = line.toString().trim();
  output('remote', 'add', `--repo=${clone}`, '--no-gpg-verify', 'origin', url, 'robot/edge');
  output('pull', `--repo=${clone}`, 'origin');
  assert.equal(output('refs', `--repo=${clone}`), 'origin:robot/edge\nother\n');
  assert.match(output('fsck', `--repo=${clone}`), /successfully - no errors found/);
  const exited = once(server, 'exit');
  server.kill('SIGTERM');
  assert.deepEqual((await exited)[0], 0);
});

test('everything is pulled where nothing is named, and unusual trees and refs are handled as ostree handles them', (t) => {
  const { base, repo } = repoWithHistory(t);
  const clone = join(base, 'clone');
  output('init', `--repo=${clone}`, '--mode=archive');
  output('pull-local', `--repo=${clone}`, '--disable-verify-bindings', repo);
  assert.equal(output('refs', `--repo=${clone}`), 'other\nrobot/edge\n');

  const odd = join(base, 'odd');
  mkdirSync(join(odd, 'd'), { recursive: true });
  writeFileSync(join(odd, 'file'), 'content');
  symlinkSync('../file', join(odd, 'd/link'));
  symlinkSync('/d/link', join(odd, 'chain'));
  symlinkSync('loop', join(odd, 'loop'));
  output('commit', `--repo=${clone}`, '-b', 'ü', odd);
  assert.equal(output('cat', `--repo=${clone}`, 'ü', '/chain'), 'content');
  assert.equal(ours('cat', `--repo=${clone}`, 'ü', '/loop').status, 1);
  chmodSync(join(odd, 'd'), 0o700);
  output('commit', `--repo=${clone}`, '-b', 'ü', odd);
  assert.equal(output('diff', `--repo=${clone}`, 'ü'), theirs('diff', `--repo=${clone}`, 'ü').stdout);

  for (const name of ['-x', '.hidden', 'a/-b']) {
    const { status, stderr } = ours('commit', `--repo=${clone}`, `--branch=${name}`, odd);
    assert.equal(status, 1, name);
    assert.match(stderr, /cannot be the name of a ref/);
  }
  writeFileSync(join(clone, 'refs/heads/torn'), '');
  assert.match(ours('fsck', `--repo=${clone}`).stderr, /Broken ref: .*torn/);
  assert.match(output('refs', `--repo=${clone}`), /^other\n/);
  output('refs', '--delete', `--repo=${clone}`, 'torn');
  output('fsck', `--repo=${clone}`);
});

test('a remote that wants its signatures verified is not pulled from as if it had not', (t) => {
  const { base, repo } = repoWithHistory(t);
  const clone = join(base, 'clone');
  output('init', `--repo=${clone}`, '--mode=archive');
  output('remote', 'add', `--repo=${clone}`, 'origin', `file://${repo}`);
  const { status, stderr } = ours('pull', `--repo=${clone}`, 'origin', 'other');
  assert.equal(status, 1);
  assert.match(stderr, /gpg-verify/);
});
