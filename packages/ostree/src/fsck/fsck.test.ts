import assert from 'node:assert/strict';
import { appendFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { loosePath } from '../formats/object-name.ts';
import { copyClosure } from '../pull/copy.ts';
import { readCommit, readDirTree } from '../repo/objects.ts';
import { createRepo, openRepo } from '../repo/repo.ts';
import { libostreeRepo } from '../testing/sample-repo.ts';
import { ostree, scratchFolder } from '../testing/scratch.ts';
import { fsck } from './fsck.ts';

for (const mode of ['archive', 'bare-user-only'] as const) {
  test(`damage in a repository of mode ${mode} is named, with the commits that suffer`, async (t) => {
    const base = scratchFolder(t);
    const theirs = libostreeRepo(base);
    writeFileSync(join(theirs.folder, 'etc/nothing'), 'changed');
    const next = ostree(`--repo=${theirs.path}`, 'commit', '-b', 'main', '--canonical-permissions', theirs.folder);
    const repo = await createRepo(join(base, 'repo'), { mode });
    await copyClosure(await openRepo(theirs.path), repo, [theirs.commit, next]);
    const healthy = await fsck(repo);
    assert.deepEqual([healthy.commits, healthy.damaged, healthy.affectedCommits], [2, [], []]);
    const extension = mode === 'archive' ? 'filez' : 'file';
    const root = await readDirTree(repo, (await readCommit(repo, next)).tree.contents);
    const etc = await readDirTree(repo, root.dirs.get('etc')!.contents);
    const both = root.files.get('large')!;
    const one = etc.files.get('nothing')!;
    const folder = root.dirs.get('odd names')!.contents;
    appendFileSync(join(repo.path, 'objects', loosePath(both, extension)), 'x');
    rmSync(join(repo.path, 'objects', loosePath(one, extension)));
    appendFileSync(join(repo.path, 'objects', loosePath(folder, 'dirtree')), 'x');
    const report = await fsck(repo);
    const found = report.damaged.map(({ checksum, kind, path, commits }) => [checksum, kind, path, commits.length]);
    const expected = [
      [both, 'corrupt', '/large', 2],
      [one, 'missing', '/etc/nothing', 1],
      [folder, 'corrupt', '/odd names', 2],
    ];
    assert.deepEqual(found.map(String).sort(), expected.map(String).sort());
    assert.deepEqual(report.affectedCommits, [theirs.commit, next].sort());
  });
}

test('a lost commit leaves a dangling ref, a damaged one is reported', async (t) => {
  const base = scratchFolder(t);
  const theirs = libostreeRepo(base);
  const repo = await openRepo(theirs.path);
  const path = join(theirs.path, 'objects', loosePath(theirs.commit, 'commit'));
  appendFileSync(path, 'x');
  const damaged = await fsck(repo);
  assert.deepEqual(damaged.affectedCommits, [theirs.commit]);
  assert.equal(damaged.damaged[0]?.kind, 'corrupt');
  rmSync(path);
  const lost = await fsck(repo);
  assert.deepEqual(lost.danglingRefs, new Map([['main', theirs.commit]]));
  assert.equal(lost.objects, 0);
});

test('partial commits may lack anything', async (t) => {
  const base = scratchFolder(t);
  const theirs = libostreeRepo(base);
  const repo = await openRepo(theirs.path);
  const { tree } = await readCommit(repo, theirs.commit);
  rmSync(join(theirs.path, 'objects', loosePath(tree.contents, 'dirtree')));
  writeFileSync(join(theirs.path, 'state', `${theirs.commit}.commitpartial`), '');
  const report = await fsck(repo);
  assert.deepEqual([report.commits, report.partialCommits, report.damaged], [0, [theirs.commit], []]);
});
