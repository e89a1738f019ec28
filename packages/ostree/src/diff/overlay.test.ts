import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { chmodSync, chownSync, createReadStream, createWriteStream, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { PassThrough } from 'node:stream';
import { type TestContext, test } from 'node:test';
import { writeTar } from '../commit/tar.ts';
import { compose } from '../compose/compose.ts';
import type { Tree } from '../formats/object-name.ts';
import { createRepo, type Repo } from '../repo/repo.ts';
import { withTransaction } from '../repo/transaction.ts';
import { noise } from '../testing/sample-repo.ts';
import { ostree, scratchFolder } from '../testing/scratch.ts';
import { commitFolder, isRoot, writeVersion } from '../testing/versions.ts';
import { diffSides, diffTrees } from './diff.ts';
import { applyOverlay, exportOverlay } from './overlay.ts';
import type { DiffSide } from './side.ts';

async function scratchRepo(t: TestContext): Promise<{ base: string; repo: Repo }> {
  const base = scratchFolder(t);
  return { base, repo: await createRepo(join(base, 'repo')) };
}

/** Exports from one side to the other, puts it onto the tree before, and wants the tree after. */
async function assertCarriesBack(
  repo: Repo,
  file: string,
  sides: { before: DiffSide; after: DiffSide; trees: [Tree, Tree] },
) {
  const changes = await diffSides(sides.before, sides.after);
  await exportOverlay(sides.after, changes, createWriteStream(file));
  const [before, after] = sides.trees;
  const made = await withTransaction(repo, (tx) => applyOverlay(tx, before, createReadStream(file)));
  assert.deepEqual(await diffTrees(repo, after, made), []);
  assert.deepEqual(made, after);
}

test('an overlay put onto the tree before gives the tree after, checksum for checksum', async (t) => {
  const { base, repo } = await scratchRepo(t);
  const folders = [join(base, 'old'), join(base, 'new')] as const;
  writeVersion(folders[0], 1);
  writeVersion(folders[1], 2);
  writeFileSync(join(folders[1], `etc/${'long'.repeat(50)}-süß`), 'a long name');
  writeFileSync(join(folders[1], 'etc/large'), noise(3_000_000));
  mkdirSync(join(folders[1], 'etc/sticky'));
  chmodSync(join(folders[1], 'etc/sticky'), 0o1777);
  if (isRoot) {
    const tool = join(folders[1], 'usr/bin/ping');
    writeFileSync(tool, 'ping');
    chownSync(tool, 1000, 3_000_000);
    chmodSync(tool, 0o6755);
    // cap_net_raw=ep, as setcap writes it
    execFileSync('setfattr', ['-n', 'security.capability', '-v', '0x0100000200200000000000000000000000000000', tool]);
    execFileSync('setfattr', ['-n', 'user.binary', '-v', '0x000a3d00ff20', join(folders[1], 'etc')]);
  }
  const trees: [Tree, Tree] = [
    await commitFolder(repo, folders[0], 'old'),
    await commitFolder(repo, folders[1], 'new'),
  ];
  const [before, after] = trees.map((tree) => ({ repo, tree })) as [DiffSide, DiffSide];
  const file = join(base, 'overlay.tar');
  await assertCarriesBack(repo, file, { before, after, trees });
  await assertCarriesBack(repo, file, { before, after: { folder: folders[1] }, trees });
  await assertCarriesBack(repo, file, { before: after, after: before, trees: [trees[1], trees[0]] });
});

test('what was added and changed can be committed over the old tree by stock ostree', async (t) => {
  const { base, repo } = await scratchRepo(t);
  const [old, young] = [join(base, 'old'), join(base, 'new')];
  writeVersion(old, 1);
  execFileSync('cp', ['-a', old, young]);
  writeFileSync(join(young, 'etc/conf'), 'other');
  mkdirSync(join(young, 'opt/app'), { recursive: true });
  writeFileSync(join(young, 'opt/app/run'), '#!/bin/sh\n', { mode: 0o755 });
  if (isRoot) {
    execFileSync('setfattr', ['-n', 'user.note', '-v', 'with = and ü', join(young, 'opt/app/run')]);
    chownSync(join(young, 'opt/app/run'), 5, 6);
  }
  const before = await commitFolder(repo, old, 'old');
  const after = await commitFolder(repo, young, 'new');
  const file = join(base, 'overlay.tar');
  await exportOverlay({ repo, tree: after }, await diffTrees(repo, before, after), createWriteStream(file));
  const commit = ['commit', `--repo=${repo.path}`, '-b', 'stock', '--tree=ref=old', `--tree=tar=${file}`];
  ostree(...commit);
  assert.equal(ostree('diff', `--repo=${repo.path}`, 'new', 'stock'), '');
  const plain = await withTransaction(repo, async (tx) => {
    const over = await writeTar(tx, createReadStream(file));
    return compose(tx, [{ tree: before }, { tree: over }]);
  });
  assert.deepEqual(plain, after);
  assert.match(
    execFileSync('tar', ['-tf', file], { encoding: 'utf8' }),
    /^\.\/\netc\/\netc\/conf\nopt\/\nopt\/app\/\nopt\/app\/run\n$/,
  );
});

test('whiteouts of container layers are understood: of nothing, of a folder with what is in it, and opaque ones', async (t) => {
  const { base, repo } = await scratchRepo(t);
  const folder = join(base, 'folder');
  mkdirSync(join(folder, 'a/b'), { recursive: true });
  mkdirSync(join(folder, 'keep'));
  for (const name of ['a/b/c', 'keep/one', 'keep/two']) writeFileSync(join(folder, name), name);
  const tree = await commitFolder(repo, folder, 'base');
  const layer = join(base, 'layer');
  mkdirSync(join(layer, 'keep'), { recursive: true });
  mkdirSync(join(layer, 'a'));
  for (const name of ['.wh.never-was', 'a/.wh.b', 'keep/.wh..wh..opq', 'keep/three']) {
    writeFileSync(join(layer, name), '');
  }
  execFileSync('tar', ['-C', layer, '-cf', join(base, 'layer.tar'), '.']);
  const result = await withTransaction(repo, (tx) => applyOverlay(tx, tree, join(base, 'layer.tar')));
  const paths = (await diffTrees(repo, null, result)).map(({ path }) => path);
  assert.deepEqual(paths, ['/', '/a', '/keep', '/keep/three']);
});

test('a name that would mean a removal is refused', async (t) => {
  const { base, repo } = await scratchRepo(t);
  const folder = join(base, 'folder');
  mkdirSync(folder);
  writeFileSync(join(folder, '.wh.odd'), '');
  const tree = await commitFolder(repo, folder, 'main');
  const side = { repo, tree };
  const changes = await diffTrees(repo, null, tree);
  await assert.rejects(exportOverlay(side, changes, new PassThrough().resume()), { code: 'unsupported' });
});
