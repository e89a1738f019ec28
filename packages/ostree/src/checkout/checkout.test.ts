import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { writeFolder } from '../commit/folder.ts';
import { loosePath, type Tree } from '../formats/object-name.ts';
import { createRepo, type Repo } from '../repo/repo.ts';
import { withTransaction } from '../repo/transaction.ts';
import { treeReader } from '../repo/tree-reader.ts';
import { scratchFolder } from '../testing/scratch.ts';
import { type CheckoutOptions, checkout } from './checkout.ts';

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

for (const mode of ['bare', 'bare-user', 'bare-user-only'] as const) {
  test(`files are hard links to the objects of a ${mode} repository, but for empty ones`, async (t) => {
    if (mode === 'bare' && !isRoot) return t.skip('needs root');
    const { folder } = await sample(t);
    writeFileSync(join(folder, 'empty'), '');
    const base = scratchFolder(t);
    const repo = await createRepo(join(base, 'repo'), { mode });
    const tree = await withTransaction(repo, (tx) => writeFolder(tx, folder));
    const userMode = mode !== 'bare';
    const to = join(base, 'out');
    await checkout(repo, tree, to, { userMode, requireHardLinks: true });
    const links = (name: string, at = to) => lstatSync(join(at, name)).nlink;
    assert.equal(links('usr/bin/run'), 2);
    assert.equal(links('large'), 2);
    assert.equal(links('empty'), 1);
    assert.equal(readlinkSync(join(to, 'usr/bin/link')), 'run');
    await checkout(repo, tree, join(base, 'copy'), { userMode, hardLink: false });
    assert.equal(links('usr/bin/run', join(base, 'copy')), 1);
    // What is there already is replaced, kept, or refused unless it is the same.
    writeFileSync(join(to, 'own'), 'mine');
    rmSync(join(to, 'usr/bin/run'));
    writeFileSync(join(to, 'usr/bin/run'), 'mine');
    const again = (union: CheckoutOptions['union']) => checkout(repo, tree, to, { userMode, union: union! });
    await assert.rejects(again('identical'), { code: 'exists', message: /usr\/bin\/run: File exists/ });
    await again('add');
    assert.equal(readFileSync(join(to, 'usr/bin/run'), 'utf8'), 'mine');
    await again('overwrite');
    assert.equal(links('usr/bin/run'), 3 - 1);
    await again('identical');
    assert.equal(readFileSync(join(to, 'own'), 'utf8'), 'mine');
    assert.deepEqual(readdirSync(join(to, 'usr/bin')).sort(), ['link', 'run']);
    const wrong = checkout(repo, tree, join(base, 'wrong'), { userMode: !userMode, requireHardLinks: true });
    if (mode === 'bare-user-only') await wrong;
    else await assert.rejects(wrong, { code: 'unsupported', message: /hardlink/ });
  });
}

test('what can be no link to an object of a bare-user repository is made all the same', async (t) => {
  const base = scratchFolder(t);
  const folder = join(base, 'tree');
  mkdirSync(folder);
  writeFileSync(join(folder, 'write-only'), 'x', { mode: 0o200 });
  writeFileSync(join(folder, 'é'), 'x');
  const repo = await createRepo(join(base, 'repo'), { mode: 'bare-user' });
  const tree = await withTransaction(repo, (tx) => writeFolder(tx, folder));
  await checkout(repo, tree, join(base, 'out'), { userMode: true });
  const { mode, nlink } = lstatSync(join(base, 'out/write-only'));
  // Its owner could not read it; the copy is readable.
  assert.deepEqual([mode & 0o777, nlink], [0o600, 1]);
  assert.equal(lstatSync(join(base, 'out/é')).nlink, 2);
  // An object that is not there, or has lost its metadata, is named.
  const object = join(
    repo.path,
    'objects',
    loosePath([...treeReader(repo).dirTree(tree.contents).files.values()][1]!, 'file'),
  );
  execFileSync('setfattr', ['-x', 'user.ostreemeta', object]);
  await assert.rejects(checkout(repo, tree, join(base, 'bad'), { userMode: true }), { code: 'corrupt' });
  rmSync(object);
  await assert.rejects(checkout(repo, tree, join(base, 'gone'), { userMode: true }), { code: 'not-found' });
});

test('a layer of a container image removes what its whiteouts name, and files replace folders', async (t) => {
  const base = scratchFolder(t);
  const repo = await createRepo(join(base, 'repo'));
  const layer = async (files: Record<string, string>): Promise<Tree> => {
    const folder = mkdtempSync(join(base, 'layer-'));
    for (const [name, content] of Object.entries(files)) {
      mkdirSync(join(folder, dirname(name)), { recursive: true });
      writeFileSync(join(folder, name), content);
    }
    return withTransaction(repo, (tx) => writeFolder(tx, folder));
  };
  const lower = await layer({ 'a/x': '', 'a/y': '', 'b/z': '', 'c/deep/w': '', d: '' });
  const upper = await layer({
    'a/.wh.x': '',
    'b/.wh..wh..opq': '',
    'b/new': '',
    c: 'file',
    'd/in': '',
    '.wh.never': '',
  });
  const to = join(base, 'out');
  for (const tree of [lower, upper]) await checkout(repo, tree, to, { union: 'overwrite', whiteouts: true });
  assert.deepEqual(readdirSync(to, { recursive: true, encoding: 'utf8' }).toSorted(), [
    'a',
    'a/y',
    'b',
    'b/new',
    'c',
    'd',
    'd/in',
  ]);
  const plain = join(base, 'plain');
  await checkout(repo, lower, plain);
  await assert.rejects(checkout(repo, upper, plain, { union: 'overwrite' }), { code: 'exists' });
  if (!isRoot) return;
  const kept = await layer({ '.ostree-wh.gone': '' });
  await checkout(repo, kept, join(base, 'devices'), { overlayWhiteouts: true });
  assert.ok(lstatSync(join(base, 'devices/gone')).isCharacterDevice());
});

test('a union follows symlinks that stay inside, and no others', async (t) => {
  const { base, repo } = await sample(t);
  const [folder, to] = [join(base, 'over'), join(base, 'out')];
  mkdirSync(join(folder, 'lib'), { recursive: true });
  writeFileSync(join(folder, 'lib/file'), 'x');
  const tree = await withTransaction(repo, (tx) => writeFolder(tx, folder));
  mkdirSync(join(to, 'usr/lib'), { recursive: true });
  symlinkSync('usr/lib', join(to, 'lib'));
  await checkout(repo, tree, to, { union: 'overwrite' });
  assert.equal(readFileSync(join(to, 'usr/lib/file'), 'utf8'), 'x');
  const outside = join(base, 'outside');
  mkdirSync(outside);
  rmSync(join(to, 'lib'));
  symlinkSync(outside, join(to, 'lib'));
  await assert.rejects(checkout(repo, tree, to, { union: 'overwrite' }), { code: 'exists' });
  assert.deepEqual(readdirSync(outside), []);
});

test('objects that a repository lacks come from its parent', async (t) => {
  const { base, repo, tree } = await sample(t);
  const child = await createRepo(join(base, 'child'));
  child.config.get('core')!.set('parent', repo.path);
  await checkout(child, tree, join(base, 'out'));
  assert.equal(readFileSync(join(base, 'out/usr/bin/run'), 'utf8'), 'run');
});

test('unpacked copies are kept in the repository where that is asked for, and linked to', async (t) => {
  const { base, repo, tree } = await sample(t);
  for (const name of ['a', 'b']) await checkout(repo, tree, join(base, name), { userMode: true, cache: true });
  assert.equal(lstatSync(join(base, 'a/usr/bin/run')).nlink, 3);
  assert.equal(lstatSync(join(base, 'a/setuid')).mode & 0o7777, 0o755);
});
