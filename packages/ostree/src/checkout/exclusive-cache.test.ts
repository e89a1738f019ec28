import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import {
  appendFileSync,
  chmodSync,
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { writeFolder } from '../commit/folder.ts';
import type { Tree } from '../formats/object-name.ts';
import { fsck } from '../fsck/fsck.ts';
import { createRepo, type Repo } from '../repo/repo.ts';
import { withTransaction } from '../repo/transaction.ts';
import { scratchFolder } from '../testing/scratch.ts';
import { checkout } from './checkout.ts';

const isRoot = process.getuid?.() === 0;

interface Sample {
  repo: Repo;
  tree: Tree;
  cache: string;
  /** Checks out under this name and returns the folder. */
  out(name: string, options?: { userMode?: boolean }): Promise<string>;
}

async function sample(t: TestContext): Promise<Sample> {
  const base = scratchFolder(t);
  const folder = join(base, 'tree');
  mkdirSync(join(folder, 'etc'), { recursive: true });
  writeFileSync(join(folder, 'etc/conf'), 'speed=1\n');
  writeFileSync(join(folder, 'etc/copy-of-conf'), 'speed=1\n');
  writeFileSync(join(folder, 'program'), 'x'.repeat(100_000), { mode: 0o755 });
  writeFileSync(join(folder, 'empty'), '');
  const repo = await createRepo(join(base, 'repo'));
  const tree = await withTransaction(repo, (tx) => writeFolder(tx, folder));
  const cache = join(base, 'cache');
  return {
    repo,
    tree,
    cache,
    async out(name, { userMode = true } = {}) {
      const to = join(base, name);
      await checkout(repo, tree, to, { userMode, exclusiveCache: cache });
      return to;
    },
  };
}

const inode = (path: string) => lstatSync(path).ino;

test('a file that was written to in place is another one in no other checkout, and not in the repository', async (t) => {
  const { repo, out } = await sample(t);
  const [one, two] = [await out('one'), await out('two')];
  for (const name of ['etc/conf', 'program']) {
    assert.equal(lstatSync(join(one, name)).nlink, 2, `${name} is linked`);
    assert.notEqual(inode(join(one, name)), inode(join(two, name)), name);
  }
  appendFileSync(join(one, 'etc/conf'), 'edited\n');
  appendFileSync(join(one, 'program'), 'edited');
  assert.equal(readFileSync(join(one, 'etc/copy-of-conf'), 'utf8'), 'speed=1\n');
  const check = async (folder: string) => {
    assert.equal(readFileSync(join(folder, 'etc/conf'), 'utf8'), 'speed=1\n');
    assert.equal(readFileSync(join(folder, 'program'), 'utf8').length, 100_000);
  };
  await check(two);
  await check(await out('three'));
  rmSync(one, { recursive: true });
  await check(await out('four'));
  assert.deepEqual((await fsck(repo)).damaged, []);
});

test('what a checkout leaves behind is linked to again', async (t) => {
  const { out } = await sample(t);
  const one = await out('one');
  const before = inode(join(one, 'program'));
  rmSync(one, { recursive: true });
  const two = await out('two');
  assert.equal(inode(join(two, 'program')), before);
  assert.deepEqual([lstatSync(join(two, 'program')).nlink, lstatSync(join(two, 'program')).mtimeMs], [2, 0]);
});

test('what was changed in a way that neither time nor size shows is not used again', async (t) => {
  const { cache, out } = await sample(t);
  const one = await out('one');
  const edits: ((path: string) => void)[] = [
    (path) => writeFileSync(path, readFileSync(path, 'utf8').replace('1', '9')),
    (path) => chmodSync(path, 0o777),
    ...(existsSync('/usr/bin/setfattr')
      ? [(path: string) => execFileSync('setfattr', ['-n', 'user.x', '-v', 'y', path])]
      : []),
  ];
  let folder = one;
  for (const [index, edit] of edits.entries()) {
    const conf = join(folder, 'etc/conf');
    edit(conf);
    utimesSync(conf, 0, 0);
    rmSync(folder, { recursive: true });
    folder = await out(`next-${index}`);
    const again = join(folder, 'etc/conf');
    assert.equal(readFileSync(again, 'utf8'), 'speed=1\n');
    assert.equal(lstatSync(again).mode & 0o777, 0o644);
    assert.equal(lstatSync(again).nlink, 2, 'there is a new copy in the cache');
  }
  assert.ok(existsSync(cache));
});

test('checkouts at the same moment never share a file', async (t) => {
  const { out } = await sample(t);
  for (let round = 0; round < 5; round++) {
    const names = ['a', 'b', 'c', 'd'].map((name) => `${name}-${round}`);
    const folders = await Promise.all(names.map((name) => out(name)));
    const seen = new Map<number, string>();
    for (const folder of folders) {
      for (const name of ['etc/conf', 'etc/copy-of-conf', 'program', 'empty']) {
        const path = join(folder, name);
        assert.equal(seen.get(inode(path)), undefined, `${path} is another checkout's too`);
        seen.set(inode(path), path);
      }
    }
    for (const folder of folders) rmSync(folder, { recursive: true });
  }
});

test('with owners and without are different files', { skip: !isRoot && 'owners need root' }, async (t) => {
  const { out } = await sample(t);
  const [user, exact] = [await out('user'), await out('exact', { userMode: false })];
  assert.notEqual(inode(join(user, 'program')), inode(join(exact, 'program')));
  assert.equal(lstatSync(join(exact, 'program')).nlink, 2);
  execFileSync('chown', ['7:7', join(exact, 'program')]);
  rmSync(exact, { recursive: true });
  assert.equal(lstatSync(join(await out('again', { userMode: false }), 'program')).uid, 0);
});

test('without hard links between cache and checkout files are copied', { skip: !existsSync('/dev/shm') }, async (t) => {
  const { repo, tree, cache } = await sample(t);
  const elsewhere = mkdtempSync('/dev/shm/treeline-');
  t.after(() => rmSync(elsewhere, { recursive: true }));
  if (lstatSync(elsewhere).dev === lstatSync(repo.path).dev) return t.skip('all is in memory here');
  await checkout(repo, tree, join(elsewhere, 'out'), { userMode: true, exclusiveCache: cache });
  assert.equal(lstatSync(join(elsewhere, 'out/program')).nlink, 1);
  assert.equal(readFileSync(join(elsewhere, 'out/etc/conf'), 'utf8'), 'speed=1\n');
});
