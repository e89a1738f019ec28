import assert from 'node:assert/strict';
import { hash } from 'node:crypto';
import { mkdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { writeFolder } from '../commit/folder.ts';
import { writeCommit } from '../commit/write-commit.ts';
import { diffTrees } from '../diff/diff.ts';
import type { Tree } from '../formats/object-name.ts';
import type { Variant } from '../gvariant/encode.ts';
import { objectPath } from '../repo/objects.ts';
import { createRepo, type Repo } from '../repo/repo.ts';
import { type Transaction, withTransaction } from '../repo/transaction.ts';
import { lookUp, subtree, treeReader } from '../repo/tree-reader.ts';
import { ostree, scratchFolder } from '../testing/scratch.ts';
import { compose, type Layer } from './compose.ts';
import { filterTree } from './filter-tree.ts';
import { mergeEtc } from './merge-etc.ts';

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

/** A tree of `width` ** 3 files in three levels of folders, made without files: only their checksums count. */
function wideTree(tx: Transaction, width: number): Tree {
  const meta = tx.emptyTree().meta;
  const level = (depth: number, seed: string): Tree => {
    const files = new Map<string, string>();
    const dirs = new Map<string, Tree>();
    for (let index = 0; index < width; index++) {
      const name = `${seed}-${index}`;
      if (depth === 0) files.set(name, hash('sha256', name));
      else dirs.set(name, level(depth - 1, name));
    }
    return { contents: tx.writeDirTree({ files, dirs }), meta };
  };
  return level(2, 'n');
}

test('of a large tree only the folders on the way to a change are read and written', async (t) => {
  const { repo } = await lab(t);
  const { tree, over } = await withTransaction(repo, async (tx) => {
    const file = hash('sha256', 'new');
    const leaf = {
      contents: tx.writeDirTree({ files: new Map([['f', file]]), dirs: new Map() }),
      meta: tx.emptyTree().meta,
    };
    return { tree: wideTree(tx, 12), over: leaf };
  });
  // Whoever reads another folder than those on the way finds it gone.
  const reader = treeReader(repo);
  const onTheWay = new Set([tree.contents, over.contents]);
  const middle = reader.dirTree(tree.contents).dirs.get('n-3')!;
  onTheWay.add(middle.contents).add(reader.dirTree(middle.contents).dirs.get('n-3-4')!.contents);
  let removed = 0;
  const spare = (at: Tree): void => {
    const { dirs } = reader.dirTree(at.contents);
    for (const dir of dirs.values()) spare(dir);
    if (onTheWay.has(at.contents)) return;
    rmSync(objectPath(repo, 'dirtree', at.contents));
    removed++;
  };
  spare(tree);
  assert.equal(removed, 12 + 144 - 2);
  const { stats, made } = await withTransaction(repo, async (tx) => ({
    made: await compose(tx, [
      { tree },
      { tree: over, at: '/n-3/n-3-4' },
      { remove: '/n-3/n-3-4/n-3-4-7' },
      { tree: over },
    ]),
    stats: tx.stats,
  }));
  assert.equal(stats.metadataWritten, 3);
  assert.notEqual(made.contents, tree.contents);
});

test('several trees make the commit that ostree makes of them, and conflicts are refused in its words', async (t) => {
  const { tree, repo } = await lab(t);
  const trees = [
    await tree({ 'a/x': '1', 'a/y': '1', f: '1' }),
    await tree({ 'a/x': '2', 'b/z': '2', f: '2' }),
    await tree({ 'a/w/deep': '3' }),
  ];
  const metadata = trees.map((_, index): [string, Variant] => [`k${index}`, { type: 's', value: 'v' }]);
  await withTransaction(repo, async (tx) => {
    for (const [index, one] of trees.entries()) tx.setRef(`layer/${index}`, await writeCommit(tx, { tree: one }));
    const merged = await compose(
      tx,
      trees.map((one) => ({ tree: one })),
      { conflicts: 'refuse' },
    );
    tx.setRef('merged', await writeCommit(tx, { tree: merged, timestamp: 1, metadata }));
  });
  const flags = metadata.map(([key]) => `--add-metadata-string=${key}=v`);
  const sources = trees.map((_, index) => `--tree=ref=layer/${index}`);
  const theirs = ostree(
    `--repo=${repo.path}`,
    'commit',
    '--no-bindings',
    '-b',
    'other',
    '--timestamp=@1',
    ...flags,
    ...sources,
  );
  assert.equal(theirs, ostree(`--repo=${repo.path}`, 'rev-parse', 'merged'));
  const [folder, file] = [await tree({ 'n/x': '' }), await tree({ n: '' })];
  const both = (...of: Tree[]) =>
    withTransaction(repo, (tx) =>
      compose(
        tx,
        of.map((one) => ({ tree: one })),
        { conflicts: 'refuse' },
      ),
    );
  await assert.rejects(both(folder, file), { code: 'invalid', message: "Can't replace directory with file: n" });
  await assert.rejects(both(file, folder), { code: 'invalid', message: "Can't replace file with directory: n" });
});

test('what was changed in /etc by hand is carried into what the new system comes with', async (t) => {
  const { tree, paths, repo } = await lab(t);
  const base = await tree({
    same: '1',
    edited: '1',
    removed: '1',
    upstream: '1',
    both: '1',
    'd/x': '1',
    'd/y': '1',
    'gone/a': '1',
    'gone/b': '1',
  });
  const ours = await tree({
    same: '1',
    edited: 'mine',
    upstream: '1',
    both: 'mine',
    added: 'mine',
    'd/x': 'mine',
    'd/y': '1',
    'gone/a': 'mine',
    'gone/b': '1',
  });
  const theirs = await tree({
    same: '1',
    edited: '1',
    removed: '1',
    upstream: '2',
    both: '2',
    'd/x': '1',
    'd/z': '2',
    added2: '2',
  });
  const { tree: merged, conflicts } = await withTransaction(repo, (tx) => mergeEtc(tx, { base, ours, theirs }));
  assert.deepEqual(await paths(merged), [
    '/added',
    '/added2',
    '/both',
    '/d/x',
    '/d/z',
    '/edited',
    '/gone/a',
    '/same',
    '/upstream',
  ]);
  assert.deepEqual(conflicts.toSorted(), ['/both', '/gone']);
  const reader = treeReader(repo);
  const at = (of: Tree, path: string) => lookUp(reader, of, path);
  for (const path of ['/edited', '/both', '/d/x', '/added', '/gone/a'])
    assert.deepEqual(at(merged, path), at(ours, path), path);
  for (const path of ['/upstream', '/d/z', '/added2']) assert.deepEqual(at(merged, path), at(theirs, path), path);
  // Nothing changed by hand, or nothing by the new system: the other side as it is.
  const plain = (sides: { base: Tree; ours: Tree; theirs: Tree }) => withTransaction(repo, (tx) => mergeEtc(tx, sides));
  assert.deepEqual(await plain({ base, ours: base, theirs }), { tree: theirs, conflicts: [] });
  assert.deepEqual(await plain({ base, ours, theirs: base }), { tree: ours, conflicts: [] });
});
