import assert from 'node:assert/strict';
import { mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { writeFolder } from '../commit/folder.ts';
import { writeCommit } from '../commit/write-commit.ts';
import { diffTrees } from '../diff/diff.ts';
import type { Tree } from '../formats/object-name.ts';
import { createRepo, type Repo } from '../repo/repo.ts';
import { withTransaction } from '../repo/transaction.ts';
import { subtree, treeReader } from '../repo/tree-reader.ts';
import { ostree, scratchFolder } from '../testing/scratch.ts';
import { compose, type Layer } from './compose.ts';
import { filterTree } from './filter-tree.ts';

interface Lab {
  repo: Repo;
  base: string;
  tree(files: Record<string, string>): Promise<Tree>;
  compose(...layers: Layer[]): Promise<Tree>;
  paths(tree: Tree): Promise<string[]>;
}

let counter = 0;

async function lab(t: TestContext): Promise<Lab> {
  const base = scratchFolder(t);
  const repo = await createRepo(join(base, 'repo'));
  return {
    repo,
    base,
    async tree(files) {
      const folder = join(base, `tree-${counter++}`);
      mkdirSync(folder);
      for (const [name, content] of Object.entries(files)) {
        mkdirSync(dirname(join(folder, name)), { recursive: true });
        if (content.startsWith('-> ')) symlinkSync(content.slice(3), join(folder, name));
        else writeFileSync(join(folder, name), content);
      }
      return withTransaction(repo, (tx) => writeFolder(tx, folder, { owner: { uid: 0, gid: 0 } }));
    },
    compose: (...layers) => withTransaction(repo, (tx) => compose(tx, layers)),
    paths: async (tree) =>
      (await diffTrees(repo, null, tree)).filter((c) => c.after?.type !== 'dir').map((c) => c.path),
  };
}

test('later layers win, files and folders alike, and the rest stays', async (t) => {
  const { tree, compose, paths, repo } = await lab(t);
  const base = await tree({ 'a/x': '1', 'a/y': '1', 'b/z': '1', was: 'file' });
  const over = await tree({ 'a/y': '2', 'was/now': 'folder', b: 'file' });
  const result = await compose({ tree: base }, { tree: over });
  assert.deepEqual(await paths(result), ['/a/x', '/a/y', '/b', '/was/now']);
  const changes = await diffTrees(repo, over, result);
  assert.deepEqual(
    changes.map((c) => `${c.kind} ${c.path}`),
    ['added /a/x'],
  );
});

test('a tree, a part of it, or one file goes to a path; missing parents are made', async (t) => {
  const { tree, compose, paths, repo } = await lab(t);
  const app = await tree({ 'bin/run': 'x', 'doc/readme': 'y' });
  const result = await compose(
    { tree: await tree({ etc: 'x' }) },
    { tree: app, at: '/usr/lib/app' },
    { tree: app, from: '/doc', at: 'usr/share/doc/app' },
    { tree: app, from: '/bin/run', at: '/usr/bin/app' },
    { remove: '/usr/lib/app/doc' },
  );
  assert.deepEqual(await paths(result), ['/etc', '/usr/bin/app', '/usr/lib/app/bin/run', '/usr/share/doc/app/readme']);
  assert.equal(treeReader(repo).dirMeta(subtree(repo, result, '/usr/lib').meta).mode, 0o40755);
});

test('a composition is what ostree commit makes of the same trees', async (t) => {
  const { tree, repo, base } = await lab(t);
  const layers = [await tree({ 'a/x': '1', 'a/y': '1', k: 'k' }), await tree({ 'a/y': '2', 'b/c': '3' })];
  await withTransaction(repo, async (tx) => {
    for (const [index, layer] of layers.entries()) {
      tx.setRef(`layer-${index}`, await writeCommit(tx, { tree: layer }));
    }
    tx.setRef(
      'ours',
      await writeCommit(tx, {
        tree: await compose(
          tx,
          layers.map((layer) => ({ tree: layer })),
        ),
      }),
    );
  });
  ostree(`--repo=${repo.path}`, 'commit', '-b', 'theirs', '--tree=ref=layer-0', '--tree=ref=layer-1');
  assert.equal(
    ostree(`--repo=${repo.path}`, 'ls', '-RC', 'ours'),
    ostree(`--repo=${repo.path}`, 'ls', '-RC', 'theirs'),
  );
  ostree(`--repo=${repo.path}`, 'fsck');
  assert.ok(base);
});

test('untouched subtrees are not read', async (t) => {
  const { tree, compose, repo } = await lab(t);
  const base = await tree({ 'deep/er/file': '1', 'other/file': '2' });
  const deep = subtree(repo, base, '/deep');
  const { rmSync } = await import('node:fs');
  rmSync(join(repo.path, 'objects', deep.contents.slice(0, 2), `${deep.contents.slice(2)}.dirtree`));
  const result = await compose({ tree: base }, { tree: await tree({ new: '3' }), at: '/other' });
  assert.deepEqual(subtree(repo, result, '/deep'), deep);
});

test('mistakes are named: a path that is not there, a folder over a symlink, a way out of the tree', async (t) => {
  const { tree, compose } = await lab(t);
  const base = await tree({ 'usr/lib/x': '1', lib: '-> usr/lib' });
  const over = await tree({ 'lib/y': '2' });
  await assert.rejects(compose({ tree: base }, { tree: over }), { code: 'invalid', message: /\/lib is a symlink/ });
  await assert.rejects(compose({ tree: base }, { tree: over, at: '/lib/y/..' }), { code: 'invalid' });
  await assert.rejects(compose({ tree: base }, { tree: over, from: '/no' }), { code: 'not-found', message: /\/no/ });
  await assert.rejects(compose({ tree: base }, { remove: '/usr/no' }), { code: 'not-found', message: /\/usr\/no/ });
  await assert.rejects(compose({ tree: base }, { remove: '/' }), { code: 'invalid' });
  await assert.rejects(compose({ tree: base }, { tree: over, from: '/lib/y' }), {
    code: 'invalid',
    message: /file cannot be put/,
  });
});

test('a filtered tree keeps what is wanted, and is the same tree when that is everything', async (t) => {
  const { tree, paths, repo } = await lab(t);
  const all = await tree({ 'src/a.py': '1', 'src/b.txt': '2', 'doc/c.txt': '3', top: '4' });
  const filtered = (keep: (path: string) => boolean) => withTransaction(repo, (tx) => filterTree(tx, all, keep));
  assert.deepEqual(await paths(await filtered((path) => path.endsWith('.py'))), ['/src/a.py']);
  assert.deepEqual(await filtered(() => true), all);
  assert.deepEqual(await paths(await filtered(() => false)), []);
});
