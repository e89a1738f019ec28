import assert from 'node:assert/strict';
import { hash } from 'node:crypto';
import { appendFileSync, cpSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { writeCommit } from '../commit/write-commit.ts';
import { loosePath } from '../formats/object-name.ts';
import { encode } from '../gvariant/encode.ts';
import { copyClosure } from '../pull/copy.ts';
import { partialMark } from '../pull/known-trees.ts';
import { setCollectionRef } from '../repo/collection-refs.ts';
import { hasObject, objectPath, readCommit, readDirTree } from '../repo/objects.ts';
import { setRef } from '../repo/refs.ts';
import { createRepo, openRepo } from '../repo/repo.ts';
import { withTransaction } from '../repo/transaction.ts';
import { serveRepository } from '../serve/server.ts';
import { libostreeRepo } from '../testing/sample-repo.ts';
import { ostree, scratchFolder } from '../testing/scratch.ts';
import { fsck } from './fsck.ts';
import { repair } from './repair.ts';

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

const ref = 'main';

async function damagedRepo(base: string) {
  const theirs = libostreeRepo(base);
  const repo = await openRepo(theirs.path);
  const root = await readDirTree(repo, (await readCommit(repo, theirs.commit)).tree.contents);
  const bin = await readDirTree(
    repo,
    (await readDirTree(repo, root.dirs.get('usr')!.contents)).dirs.get('bin')!.contents,
  );
  return {
    repo,
    commit: theirs.commit,
    large: root.files.get('large')!,
    tool: bin.files.get('tool')!,
    usr: root.dirs.get('usr')!,
  };
}

test('what is lost marks a commit as partial, also for ostree, and damage is deleted only when asked', async (t) => {
  const { repo, commit, large, tool } = await damagedRepo(scratchFolder(t));
  appendFileSync(objectPath(repo, 'file', large), 'x');
  rmSync(objectPath(repo, 'file', tool));
  const marked = await fsck(repo, { fix: 'mark' });
  assert.deepEqual(marked.marked, [commit]);
  assert.ok(hasObject(repo, 'file', large));
  assert.equal(readFileSync(partialMark(repo, commit), 'latin1'), 'f');
  assert.throws(() => ostree(`--repo=${repo.path}`, 'fsck'), /1 partial commits from fsck-detected corruption/);
  assert.deepEqual((await fsck(repo)).lostCommits, [commit]);
  const deleted = await fsck(repo, { fix: 'delete', includeLost: true });
  assert.deepEqual([deleted.marked, hasObject(repo, 'file', large)], [[], false]);
});

test('what is damaged or lost comes from whoever has it, in whatever commit, and is checked', async (t) => {
  const base = scratchFolder(t);
  const { repo, commit, large, tool, usr } = await damagedRepo(base);
  const [sound, liar] = [join(base, 'sound'), join(base, 'liar')];
  cpSync(repo.path, sound, { recursive: true });
  cpSync(repo.path, liar, { recursive: true });
  ostree(`--repo=${sound}`, 'refs', '--delete', ref); // objects alone are enough
  for (const checksum of [large, tool]) writeFileSync(join(liar, 'objects', loosePath(checksum, 'filez')), 'lie');
  const server = await serveRepository(sound, { port: 0 });
  t.after(() => server.close());
  appendFileSync(objectPath(repo, 'file', large), 'x');
  rmSync(objectPath(repo, 'file', tool));
  for (const checksum of [usr.contents]) appendFileSync(objectPath(repo, 'dirtree', checksum), 'x');
  rmSync(objectPath(repo, 'commit', commit));
  const { repaired, after } = await repair(repo, [{ url: liar }, { url: server.url }]);
  assert.deepEqual(
    repaired.sort(),
    [`${large}.file`, `${tool}.file`, `${usr.contents}.dirtree`, `${commit}.commit`].sort(),
  );
  assert.deepEqual([after.damaged, after.danglingRefs.size, after.lostCommits], [[], 0, []]);
  ostree(`--repo=${repo.path}`, 'fsck');

  appendFileSync(objectPath(repo, 'file', large), 'x');
  await fsck(repo, { fix: 'delete' });
  const nothing = await repair(repo, [{ url: liar }]);
  assert.deepEqual(nothing.repaired, []);
  assert.equal(nothing.after.damaged.length, 1);
  assert.deepEqual((await repair(repo, [{ url: sound }])).repaired, [`${large}.file`]);
  ostree(`--repo=${repo.path}`, 'fsck'); // no mark is left
});

test('refs and bindings that do not fit one another are told, in the words of ostree', async (t) => {
  const { repo, commit } = await damagedRepo(scratchFolder(t));
  const check = async () => (await fsck(repo, { verifyBindings: true, verifyBackRefs: true })).bindingFaults;
  assert.deepEqual(await check(), []);
  await setRef(repo, 'other', commit);
  assert.match((await check()).join(), /Commit has no requested ref ‘other’ in ref binding metadata \(‘main’\)/);
  await setRef(repo, ref, null);
  assert.match((await check()).join(), /Ref ‘main’ in bindings for commit [0-9a-f]+ does not exist/);
  await setRef(repo, ref, 'a'.repeat(64));
  assert.match((await check()).join(), /does not resolve to that commit/);
  await setCollectionRef(repo, { collection: 'org.example.X', ref: 'gone' }, 'b'.repeat(64));
  assert.deepEqual([...(await fsck(repo)).danglingRefs.keys()], [ref, '(org.example.X, gone)']);
});

test('a parent that is not there gets a tombstone, its child stays', async (t) => {
  const base = scratchFolder(t);
  const theirs = libostreeRepo(base);
  const next = ostree(`--repo=${theirs.path}`, 'commit', '-b', 'main', '--tree=ref=main');
  const repo = await openRepo(theirs.path);
  rmSync(objectPath(repo, 'commit', theirs.commit));
  assert.deepEqual((await fsck(repo, { addTombstones: true })).tombstones, [theirs.commit]);
  assert.deepEqual((await fsck(await openRepo(theirs.path), { addTombstones: true })).tombstones, []);
  assert.ok(hasObject(repo, 'commit', next));
  ostree(`--repo=${theirs.path}`, 'fsck');
});

test('bytes with the right checksum that are no folder are damage, too', async (t) => {
  const repo = await createRepo(join(scratchFolder(t), 'repo'));
  const bad = encode('(a(say)a(sayay))', [[['../escape', Buffer.alloc(32, 1)]], []]);
  const checksum = hash('sha256', bad);
  const commit = await withTransaction(repo, (tx) =>
    writeCommit(tx, { tree: { contents: checksum, meta: tx.emptyTree().meta } }),
  );
  mkdirSync(dirname(objectPath(repo, 'dirtree', checksum)), { recursive: true });
  writeFileSync(objectPath(repo, 'dirtree', checksum), bad);
  const { damaged } = await fsck(repo);
  const faults = damaged.map(({ type, message }) => `${type} ${message}`).join();
  assert.match(faults, /dirtree [0-9a-f]+\.dirtree: Invalid \/ in filename \.\.\/escape/);
  assert.deepEqual(damaged[0]!.commits, [commit]);
});
