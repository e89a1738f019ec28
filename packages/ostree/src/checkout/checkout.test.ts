import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { writeFolder } from '../commit/folder.ts';
import type { Tree } from '../formats/object-name.ts';
import { createRepo, type Repo } from '../repo/repo.ts';
import { withTransaction } from '../repo/transaction.ts';
import { scratchFolder } from '../testing/scratch.ts';
import { checkout } from './checkout.ts';

const isRoot = process.getuid?.() === 0;

async function sample(t: TestContext): Promise<{ base: string; folder: string; repo: Repo; tree: Tree }> {
  const base = scratchFolder(t);
  const folder = join(base, 'tree');
  mkdirSync(join(folder, 'usr/bin'), { recursive: true });
  writeFileSync(join(folder, 'usr/bin/run'), 'run', { mode: 0o755 });
  symlinkSync('run', join(folder, 'usr/bin/link'));
  writeFileSync(join(folder, 'setuid'), 'x');
  chmodSync(join(folder, 'setuid'), 0o4755);
  writeFileSync(join(folder, 'large'), '');
  truncateSync(join(folder, 'large'), 50_000_000);
  mkdirSync(join(folder, 'locked'));
  writeFileSync(join(folder, 'locked/file'), 'in a folder nobody may write to');
  chmodSync(join(folder, 'locked'), 0o555);
  if (isRoot) execFileSync('setfattr', ['-n', 'user.note', '-v', 'kept', join(folder, 'setuid')]);
  const repo = await createRepo(join(base, 'repo'));
  return { base, folder, repo, tree: await withTransaction(repo, (tx) => writeFolder(tx, folder)) };
}

test('a checkout has the content, modes, symlinks and time stamps of the tree', async (t) => {
  const { base, folder, repo, tree } = await sample(t);
  const out = join(base, 'new/out');
  const { files } = await checkout(repo, tree, out, { userMode: false });
  assert.equal(files, 5);
  execFileSync('diff', ['-r', '--no-dereference', folder, out]);
  assert.equal(statSync(join(out, 'setuid')).mode & 0o7777, 0o4755);
  assert.equal(statSync(join(out, 'locked')).mode & 0o7777, 0o555);
  assert.equal(statSync(join(out, 'usr/bin/run')).mtimeMs, 0);
  assert.equal(statSync(join(out, 'usr')).mtimeMs, 0);
  const again = await withTransaction(repo, (tx) => writeFolder(tx, out, { statCache: false }));
  assert.deepEqual(again, tree);
});

test('user mode leaves setuid bits and attributes out', async (t) => {
  const { base, repo, tree } = await sample(t);
  await checkout(repo, tree, join(base, 'out'), { userMode: true });
  assert.equal(statSync(join(base, 'out/setuid')).mode & 0o7777, 0o755);
});

test('an existing folder is refused, merged or filled up as asked', async (t) => {
  const { base, repo, tree } = await sample(t);
  const out = join(base, 'out');
  mkdirSync(join(out, 'usr/bin'), { recursive: true });
  writeFileSync(join(out, 'usr/bin/run'), 'mine');
  writeFileSync(join(out, 'usr/other'), 'mine');
  await assert.rejects(checkout(repo, tree, out), { code: 'exists' });
  await checkout(repo, tree, out, { union: 'add' });
  assert.equal(readFileSync(join(out, 'usr/bin/run'), 'utf8'), 'mine');
  assert.equal(readFileSync(join(out, 'locked/file'), 'utf8').slice(0, 4), 'in a');
  chmodSync(join(out, 'locked'), 0o755);
  await checkout(repo, tree, out, { union: 'overwrite' });
  assert.equal(readFileSync(join(out, 'usr/bin/run'), 'utf8'), 'run');
  assert.equal(readFileSync(join(out, 'usr/other'), 'utf8'), 'mine');
});

test('union never removes a folder for a file, nor a file for a folder', async (t) => {
  const { base, repo, tree } = await sample(t);
  for (const [name, union] of [
    ['a', 'overwrite'],
    ['b', 'add'],
  ] as const) {
    const out = join(base, name);
    mkdirSync(join(out, 'setuid'), { recursive: true });
    writeFileSync(join(out, 'setuid/precious'), 'mine');
    await assert.rejects(checkout(repo, tree, out, { union }), { code: 'exists', message: /setuid/ });
    assert.equal(readFileSync(join(out, 'setuid/precious'), 'utf8'), 'mine');
  }
  writeFileSync(join(base, 'file'), 'mine');
  await assert.rejects(checkout(repo, tree, join(base, 'file'), { union: 'overwrite' }), { code: 'exists' });
  assert.equal(readFileSync(join(base, 'file'), 'utf8'), 'mine');
  mkdirSync(join(base, 'real'));
  symlinkSync('real', join(base, 'link'));
  await checkout(repo, tree, join(base, 'link'), { union: 'overwrite' });
  assert.equal(readFileSync(join(base, 'real/usr/bin/run'), 'utf8'), 'run');
});

test('a part of the tree can be checked out by itself', async (t) => {
  const { base, repo, tree } = await sample(t);
  await checkout(repo, tree, join(base, 'bin'), { subpath: '/usr/bin' });
  assert.equal(readFileSync(join(base, 'bin/run'), 'utf8'), 'run');
  await checkout(repo, tree, join(base, 'one'), { subpath: '/usr/bin/run' });
  assert.equal(readFileSync(join(base, 'one/run'), 'utf8'), 'run');
  await assert.rejects(checkout(repo, tree, join(base, 'no'), { subpath: '/nope' }), { code: 'not-found' });
});

test('a missing object is named', async (t) => {
  const { base, repo, tree } = await sample(t);
  execFileSync('find', [join(repo.path, 'objects'), '-name', '*.filez', '-size', '-200c', '-delete']);
  await assert.rejects(checkout(repo, tree, join(base, 'out')), { code: 'not-found', message: /[0-9a-f]{64}\.file/ });
});

test('bare-user-only repositories are checked out by hard link, or by copy when asked', async (t) => {
  const base = scratchFolder(t);
  const folder = join(base, 'tree');
  mkdirSync(folder);
  writeFileSync(join(folder, 'file'), 'content');
  const repo = await createRepo(join(base, 'repo'), { mode: 'bare-user-only' });
  const tree = await withTransaction(repo, (tx) => writeFolder(tx, folder));
  await checkout(repo, tree, join(base, 'linked'), { userMode: true });
  assert.equal(statSync(join(base, 'linked/file')).nlink, 2);
  await checkout(repo, tree, join(base, 'copied'), { userMode: true, hardLink: false });
  assert.equal(statSync(join(base, 'copied/file')).nlink, 1);
  assert.ok(existsSync(join(base, 'copied/file')));
});
