import assert from 'node:assert/strict';
import { rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { loosePath } from '../formats/object-name.ts';
import { fsck } from '../fsck/fsck.ts';
import { readCommit, readDirTree } from '../repo/objects.ts';
import { listRefs, readRef } from '../repo/refs.ts';
import { createRepo, openRepo, type RepoMode } from '../repo/repo.ts';
import { libostreeRepo } from '../testing/sample-repo.ts';
import { ostree, scratchFolder } from '../testing/scratch.ts';
import { hasClosure } from './closure.ts';
import { copyClosure } from './copy.ts';
import { pull } from './pull.ts';

for (const trusted of [false, true]) {
  test(`a closure is copied from mode to mode, ${trusted ? 'trusted' : 'hashed'}`, async (t) => {
    const base = scratchFolder(t);
    const theirs = libostreeRepo(base);
    const expected = ostree(`--repo=${theirs.path}`, 'ls', '-R', '-C', 'main');
    let from = await openRepo(theirs.path);
    // archive to archive, to bare-user-only, to bare-user-only, and back
    for (const [index, mode] of (['archive', 'bare-user-only', 'bare-user-only', 'archive'] as RepoMode[]).entries()) {
      const to = await createRepo(join(base, `copy-${index}`), { mode });
      const stats = await copyClosure(from, to, [theirs.commit], { trusted, refs: new Map([['main', theirs.commit]]) });
      assert.ok(stats.contentFetched > 60);
      ostree(`--repo=${to.path}`, 'fsck');
      assert.equal(ostree(`--repo=${to.path}`, 'ls', '-R', '-C', 'main'), expected);
      assert.deepEqual(await hasClosure(to, (await readCommit(to, theirs.commit)).tree), []);
      const again = await copyClosure(from, to, [theirs.commit], { trusted });
      assert.equal(again.contentFetched + again.metadataFetched, 0);
      from = to;
    }
  });
}

test('on one file system nothing is stored twice', async (t) => {
  const base = scratchFolder(t);
  const theirs = libostreeRepo(base);
  const [from, to] = [await openRepo(theirs.path), await createRepo(join(base, 'to'))];
  await copyClosure(from, to, [theirs.commit]);
  const { tree } = await readCommit(from, theirs.commit);
  const object = join('objects', loosePath(tree.contents, 'dirtree'));
  assert.equal(statSync(join(to.path, object)).ino, statSync(join(from.path, object)).ino);
});

test('after a change only what changed is copied', async (t) => {
  const base = scratchFolder(t);
  const theirs = libostreeRepo(base);
  const [from, to] = [await openRepo(theirs.path), await createRepo(join(base, 'to'))];
  await copyClosure(from, to, [theirs.commit]);
  writeFileSync(join(theirs.folder, 'usr/share/doc/p3/f3'), 'changed');
  const next = ostree(`--repo=${theirs.path}`, 'commit', '-b', 'main', '--canonical-permissions', theirs.folder);
  const stats = await copyClosure(from, to, [next]);
  assert.deepEqual([stats.contentFetched, stats.metadataFetched], [1, 6]);
  ostree(`--repo=${to.path}`, 'fsck');
});

test('a damaged object is refused unless the source is trusted, a missing one always', async (t) => {
  const base = scratchFolder(t);
  const theirs = libostreeRepo(base);
  const from = await openRepo(theirs.path);
  const { tree } = await readCommit(from, theirs.commit);
  const file = (await readDirTree(from, tree.contents)).files.get('large')!;
  const path = join(theirs.path, 'objects', loosePath(file, 'filez'));
  writeFileSync(path, 'damaged');
  for (const mode of ['archive', 'bare-user-only'] as const) {
    const to = await createRepo(join(base, mode), { mode });
    await assert.rejects(copyClosure(from, to, [theirs.commit]), { code: 'corrupt', object: `${file}.filez` });
    assert.equal((await fsck(to)).commits, 0);
  }
  rmSync(path);
  const to = await createRepo(join(base, 'to'));
  await assert.rejects(copyClosure(from, to, [theirs.commit], { trusted: true }), { code: 'not-found' });
  assert.equal((await listRefs(to)).size, 0);
});

test('a path is pulled from as a URL is', async (t) => {
  const base = scratchFolder(t);
  const theirs = libostreeRepo(base);
  writeFileSync(join(theirs.folder, 'etc/nothing'), 'two');
  const next = ostree(`--repo=${theirs.path}`, 'commit', '-b', 'main', '--canonical-permissions', theirs.folder);
  const repo = await createRepo(join(base, 'ours'));
  const stats = await pull(repo, { url: theirs.path, remote: 'origin', depth: 1 });
  assert.deepEqual(stats.commits, new Map([['main', next]]));
  assert.equal(await readRef(repo, 'origin:main'), next);
  assert.equal((await fsck(repo)).commits, 2);
  await pull(repo, { url: `file://${theirs.path}`, refs: ['main'] });
  assert.equal(await readRef(repo, 'main'), next);
  await assert.rejects(pull(repo, { url: theirs.path, refs: ['none'] }), { code: 'not-found' });
});
