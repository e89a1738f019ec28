import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { after, before, test } from 'node:test';
import { buildToolsLayer } from './tools-layer.ts';

let folder: string;
let program: string;
before(async () => {
  folder = mkdtempSync(join(tmpdir(), 'treeline-tools-'));
  await buildToolsLayer(join(folder, 'tools'));
  program = join(folder, 'tools/bin/ostreeify');
});
after(() => rmSync(folder, { recursive: true }));

const node = dirname(process.execPath);

test('it is one file that needs nothing but Node, and comes out the same each time', async () => {
  const code = readFileSync(join(folder, 'tools/lib/treeline/ostreeify.js'), 'utf8');
  for (const [, name] of code.matchAll(/\brequire\("([^"]+)"\)/g)) assert.match(name ?? '', /^node:/);
  const umask = process.umask(0o077);
  await buildToolsLayer(join(folder, 'again'));
  process.umask(umask);
  execFileSync('diff', ['-r', join(folder, 'tools'), join(folder, 'again')]);
  for (const path of readdirSync(join(folder, 'tools'), { recursive: true }) as string[]) {
    assert.equal(statSync(join(folder, 'again', path)).mode, statSync(join(folder, 'tools', path)).mode, path);
  }
});

test('it says how it is called, and what a root file system lacks', () => {
  const run = (...args: string[]) =>
    spawnSync(program, args, { encoding: 'utf8', env: { PATH: `${node}:${process.env.PATH}` } });
  assert.match(run('--help').stdout, /^ostreeify .*SOURCE TARGET/);
  assert.equal(run().status, 2);
  assert.equal(run('--nonsense', 'a', 'b').status, 2);
  mkdirSync(join(folder, 'empty/usr'), { recursive: true });
  const { status, stderr } = run(join(folder, 'empty'), join(folder, 'target'));
  assert.equal(status, 1);
  assert.match(stderr, /ostree is not installed/);
  assert.match(stderr, /systemd is not installed/);
  assert.equal(existsSync(join(folder, 'target')), false);
});

test('where there is no Node, that of the root file system serves', () => {
  const tools = join(folder, 'few');
  mkdirSync(tools);
  for (const name of ['sh', 'dirname', 'readlink', 'tr']) {
    symlinkSync(execFileSync('sh', ['-c', `command -v ${name}`], { encoding: 'utf8' }).trim(), join(tools, name));
  }
  const run = (root: string) =>
    spawnSync(program, [root, join(folder, 'target')], { encoding: 'utf8', env: { PATH: tools } });
  const none = run(join(folder, 'empty'));
  assert.deepEqual([none.status, /there is no Node here: install nodejs/.test(none.stderr)], [127, true]);

  const root = join(folder, 'with-node');
  mkdirSync(join(root, 'usr/bin'), { recursive: true });
  symlinkSync(process.execPath, join(root, 'usr/bin/node'));
  symlinkSync('/usr/lib', join(root, 'usr/lib'));
  const some = run(root);
  assert.equal(some.status, 1);
  assert.match(some.stderr, /ostreeify: .*(not installed|lacks)/s);
});
