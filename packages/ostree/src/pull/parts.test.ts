import assert from 'node:assert/strict';
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { writeFolder } from '../commit/folder.ts';
import { writeCommit } from '../commit/write-commit.ts';
import { writeFileDurably } from '../fs/durable.ts';
import { hasObject, objectPath, readCommit } from '../repo/objects.ts';
import { readRef } from '../repo/refs.ts';
import { createRepo, openRepo, type Repo, writeConfig } from '../repo/repo.ts';
import { withTransaction } from '../repo/transaction.ts';
import { lookUp, treeReader } from '../repo/tree-reader.ts';
import { plainFiles, startServer } from '../testing/http.ts';
import { ostree, scratchFolder } from '../testing/scratch.ts';
import { hasClosure } from './closure.ts';
import { partialMark } from './known-trees.ts';
import { pull } from './pull.ts';

async function repoOf(base: string, files: Record<string, string>): Promise<Repo> {
  const repo = await createRepo(join(base, 'theirs'));
  await commitFiles(repo, base, files);
  return repo;
}

async function commitFiles(
  repo: Repo,
  base: string,
  files: Record<string, string>,
  more: { parent?: string; timestamp?: number; mode?: number } = {},
): Promise<string> {
  const folder = join(base, 'files');
  rmSync(folder, { recursive: true, force: true });
  for (const [name, content] of Object.entries(files)) {
    mkdirSync(join(folder, name, '..'), { recursive: true });
    writeFileSync(join(folder, name), content, { mode: 0o644 });
  }
  const { parent = null, timestamp = 1 } = more;
  return withTransaction(repo, async (tx) => {
    const tree = await writeFolder(tx, folder, { canonicalPermissions: true });
    const commit = await writeCommit(tx, { tree, timestamp, parent });
    tx.setRef('main', commit);
    return commit;
  });
}

test('only the parts of a tree that are asked for are fetched, until the rest is', async (t) => {
  const base = scratchFolder(t);
  // The same folder is once wanted as a whole and once in part.
  const twice = { 'x/one': '1', 'x/two': '2' };
  const files: Record<string, string> = { readme: 'r', 'usr/bin/tool': 't', 'usr/binary': 'b', 'etc/conf': 'c' };
  for (const [name, content] of Object.entries(twice)) {
    files[`left/${name}`] = content;
    files[`right/${name}`] = content;
  }
  const theirs = await repoOf(base, files);
  const commit = (await readRef(theirs, 'main'))!;
  const there = (repo: Repo) => {
    const reader = treeReader(theirs);
    const tree = { ...treeOf };
    return Object.keys(files).filter((path) => {
      const found = lookUp(reader, tree, path);
      return found?.kind === 'file' && hasObject(repo, 'file', found.checksum);
    });
  };
  const treeOf = (await readCommit(theirs, commit)).tree;
  for (const [index, url] of [await startServer(t, plainFiles(theirs.path)), theirs.path].entries()) {
    const repo = await createRepo(join(base, `ours-${index}`), { mode: index === 0 ? 'archive' : 'bare-user-only' });
    const subpaths = ['/usr/bin', '/left/x/one', '/right/'];
    await pull(repo, { url, refs: ['main'], subpaths });
    const one = ['left/x/one', 'left/x/two', 'right/x/one', 'right/x/two'];
    assert.deepEqual(there(repo).sort(), [...one, 'usr/bin/tool'].sort());
    assert.ok(existsSync(partialMark(repo, commit)));
    assert.match(ostree(`--repo=${repo.path}`, 'fsck'), /1 partial commits not verified/);
    await pull(repo, { url, refs: ['main'], subpaths: ['/readme', '/none'] });
    assert.ok(there(repo).includes('readme'));
    assert.ok(existsSync(partialMark(repo, commit)));
    await pull(repo, { url, refs: ['main'] });
    assert.ok(!existsSync(partialMark(repo, commit)));
    assert.deepEqual(await hasClosure(repo, treeOf), []);
    // Whole as it is, it does not become partial by being asked for a part.
    await pull(repo, { url, refs: ['main'], subpaths });
    assert.ok(!existsSync(partialMark(repo, commit)));
    for (const bad of ['usr', '/../etc', '/a/./b']) {
      await assert.rejects(pull(repo, { url, refs: ['main'], subpaths: [bad] }), { code: 'invalid' });
    }
  }
});

test('a commit that is older than what is here is refused where times are looked at', async (t) => {
  const base = scratchFolder(t);
  const theirs = await repoOf(base, { a: '1' });
  const old = await commitFiles(theirs, base, { a: '2' }, { timestamp: 1_000_000_000 });
  const young = await commitFiles(theirs, base, { a: '3' }, { timestamp: 1_000_000_100 });
  for (const [index, url] of [await startServer(t, plainFiles(theirs.path)), theirs.path].entries()) {
    const repo = await createRepo(join(base, `ours-${index}`));
    await pull(repo, { url, refs: ['main'], remote: 'origin', timestampCheck: true });
    const message = /Upgrade target revision .* 'Sun Sep {2}9 01:46:40 2001' is chronologically older than current/;
    const downgrade = { url, refs: [`main@${old}`], remote: 'origin' };
    await assert.rejects(pull(repo, { ...downgrade, timestampCheck: true }), { code: 'invalid', message });
    await assert.rejects(pull(repo, { ...downgrade, timestampCheckFrom: young }), { code: 'invalid', message });
    assert.equal(await readRef(repo, 'origin:main'), young);
    await pull(repo, downgrade);
    assert.equal(await readRef(repo, 'origin:main'), old);
    await pull(repo, { url, refs: ['main'], remote: 'origin', timestampCheckFrom: 'origin:main' });
    await assert.rejects(pull(repo, { url, refs: ['main'], timestampCheck: true, depth: 1 }), { code: 'invalid' });
    await assert.rejects(pull(repo, { url, refs: ['main'], timestampCheckFrom: 'none' }), { code: 'not-found' });
  }
});

test('where deleted commits leave tombstones, history may end only there', async (t) => {
  const base = scratchFolder(t);
  const theirs = await repoOf(base, { a: '1' });
  const first = (await readRef(theirs, 'main'))!;
  const second = await commitFiles(theirs, base, { a: '2' }, { parent: first, timestamp: 2 });
  theirs.config.get('core')!.set('tombstone-commits', 'true');
  await writeConfig(theirs, theirs.config);
  rmSync(objectPath(theirs, 'commit', first));
  const server = await startServer(t, plainFiles(theirs.path));
  for (const [index, url] of [server, theirs.path].entries()) {
    const repo = await createRepo(join(base, `ours-${index}`));
    const deep = { url, refs: ['main'], depth: -1 };
    await assert.rejects(pull(repo, deep), { code: 'not-found', message: /nor its tombstone/ });
    await writeFileDurably(objectPath(theirs, 'tombstone-commit', first), 'tombstone');
    await pull(repo, deep);
    assert.equal(await readRef(repo, 'main'), second);
    const tombstone = objectPath(repo, 'tombstone-commit', first);
    assert.equal(existsSync(tombstone) && readFileSync(tombstone, 'utf8'), index === 1 ? 'tombstone' : false);
    rmSync(objectPath(theirs, 'tombstone-commit', first));
  }
});

test('files with permissions that nobody should get are refused, small and large', async (t) => {
  const base = scratchFolder(t);
  const theirs = await createRepo(join(base, 'theirs'));
  const server = await startServer(t, plainFiles(theirs.path));
  for (const size of [10, 3_000_000]) {
    await withTransaction(theirs, async (tx) => {
      const header = { uid: 0, gid: 0, mode: 0o104755, symlinkTarget: '', xattrs: [] };
      const { checksum } = await tx.writeFile(header, Buffer.alloc(size, 'x'));
      const { meta } = tx.emptyTree();
      const contents = tx.writeDirTree({ files: new Map([['su', checksum]]), dirs: new Map() });
      tx.setRef('main', await writeCommit(tx, { tree: { contents, meta }, timestamp: size }));
    });
    for (const url of [server, theirs.path]) {
      const repo = await createRepo(join(base, `ours-${size}-${url === server}`));
      const message = /Content object [0-9a-f]{64}: invalid mode 04755 with bits 04000/;
      for (const mirror of [false, true]) {
        const options = { url, refs: ['main'], mirror, bareUserOnlyFiles: true };
        await assert.rejects(pull(repo, options), { code: 'unsupported', message });
      }
      assert.equal(await readRef(repo, 'main'), null);
      await pull(repo, { url, refs: ['main'] });
    }
  }
});

test('refs that a transfer would overwrite stay when a commit is refused', async (t) => {
  const base = scratchFolder(t);
  const theirs = await repoOf(base, { a: '1' });
  const url = await startServer(t, plainFiles(theirs.path));
  const repo = await openRepo((await createRepo(join(base, 'ours'))).path);
  await pull(repo, { url, refs: ['main'] });
  const before = await readRef(repo, 'main');
  const next = await commitFiles(theirs, base, { a: '2' });
  writeFileSync(objectPath(theirs, 'commit', next), 'something else');
  await assert.rejects(pull(repo, { url, refs: ['main'] }), { code: 'corrupt', object: `${next}.commit` });
  await assert.rejects(pull(repo, { url: theirs.path, refs: ['main'] }), { code: 'corrupt' });
  assert.equal(await readRef(repo, 'main'), before);
  await assert.rejects(pull(repo, { url, refs: [`main@${'0'.repeat(64)}`] }), { code: 'not-found' });
  await assert.rejects(pull(repo, { url, refs: ['main@0'] }), { code: 'invalid' });
});
