import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { cpSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, type TestContext, test } from 'node:test';
import fc from 'fast-check';
import { writeCommit } from '../commit/write-commit.ts';
import { generateDelta } from '../delta/generate.ts';
import { S_IFREG } from '../formats/mode.ts';
import type { Checksum } from '../formats/object-name.ts';
import { prune } from '../prune/prune.ts';
import { copyClosure } from '../pull/copy.ts';
import { objectPath, readCommit, readDirTree } from '../repo/objects.ts';
import { setRef } from '../repo/refs.ts';
import { createRepo, openRepo, type Repo } from '../repo/repo.ts';
import { withTransaction } from '../repo/transaction.ts';
import { updateSummary } from '../summary/update.ts';
import { noise } from '../testing/sample-repo.ts';
import { ostree, scratchFolder } from '../testing/scratch.ts';
import { CountedFiles } from './counted-files.ts';
import { diskUse } from './disk-use.ts';

const header = { uid: 0, gid: 0, mode: S_IFREG | 0o644, symlinkTarget: '', xattrs: [] };

/** A commit with these files, `folder/name` -> which content. */
async function commitFiles(repo: Repo, files: Readonly<Record<string, number>>): Promise<Checksum> {
  return withTransaction(repo, async (tx) => {
    const { meta } = tx.emptyTree();
    const folders = new Map<string, Map<string, Checksum>>();
    for (const [path, seed] of Object.entries(files)) {
      const [folder = '', name = ''] = path.split('/');
      const { checksum } = await tx.writeFile(header, noise(100 + seed * 37, seed));
      folders.set(folder, (folders.get(folder) ?? new Map<string, Checksum>()).set(name, checksum));
    }
    const dirs = new Map([...folders].map(([name, list]) => [name, { contents: tree(list), meta }]));
    function tree(list: Map<string, Checksum>): Checksum {
      return tx.writeDirTree({ files: list, dirs: new Map() });
    }
    const contents = tx.writeDirTree({ files: new Map(), dirs });
    return writeCommit(tx, { tree: { contents, meta }, subject: JSON.stringify(files), timestamp: 1 });
  });
}

interface FoundFile {
  path: string;
  bytes: number;
  allocated: number;
  links: number;
}

/** What `find` says of the files below a folder. */
function find(folder: string): FoundFile[] {
  const text = execFileSync('find', [folder, '!', '-type', 'd', '-printf', '%P %s %b %n\\n'], { encoding: 'utf8' });
  return text
    .trim()
    .split('\n')
    .map((line) => {
      const [path = '', bytes, blocks, links] = line.split(' ');
      return { path, bytes: Number(bytes), allocated: Number(blocks) * 512, links: Number(links) };
    });
}

function sum(files: readonly FoundFile[]) {
  const add = (pick: (file: FoundFile) => number) => files.reduce((total, file) => total + pick(file), 0);
  return {
    bytes: add((file) => file.bytes),
    allocated: add((file) => file.allocated),
    linked: add((file) => (file.links > 1 ? file.bytes : 0)),
  };
}

/** Files of the objects that a commit needs, by following it with the decoders, one object at a time. */
async function closure(repo: Repo, commit: Checksum): Promise<Set<string>> {
  const found = new Set<string>();
  const path = (type: 'commit' | 'dirtree' | 'dirmeta' | 'file', checksum: Checksum) =>
    found.add(objectPath(repo, type, checksum).slice(repo.path.length + 1));
  path('commit', commit);
  const { tree } = await readCommit(repo, commit);
  const walk = async ({ contents, meta }: { contents: Checksum; meta: Checksum }) => {
    path('dirmeta', meta);
    path('dirtree', contents);
    const { files, dirs } = await readDirTree(repo, contents);
    for (const file of files.values()) path('file', file);
    for (const dir of dirs.values()) await walk(dir);
  };
  await walk(tree);
  return found;
}

const newRepo = async (t: TestContext) => createRepo(join(scratchFolder(t), 'repo'));

describe('disk use', () => {
  test('everything in the folder is counted once, and as find and du count it', async (t) => {
    const repo = await newRepo(t);
    const first = await commitFiles(repo, { 'a/x': 1, 'a/y': 2, 'b/z': 300 });
    const second = await commitFiles(repo, { 'a/x': 1, 'a/y': 3, 'b/z': 300 });
    await commitFiles(repo, { 'lost/x': 9 });
    await setRef(repo, 'one', first);
    await setRef(repo, 'two', second);
    await generateDelta(repo, { from: first, to: second });
    await generateDelta(repo, { from: null, to: first });
    await updateSummary(repo);
    execFileSync('sh', ['-c', 'echo x > objects/ab-not-one; mkdir -p deltas/zz/no; echo y > deltas/zz/no/0'], {
      cwd: repo.path,
    });
    writeFileSync(objectPath(repo, 'commitmeta', first), 'signed');
    writeFileSync(objectPath(repo, 'commitmeta', '0'.repeat(64)).replace(/00\/0/, `${first.slice(0, 2)}/0`), 'alone');
    const use = await diskUse(repo, [
      { name: 'one', commits: [first] },
      { name: 'two', commits: [second] },
    ]);
    const files = find(repo.path);
    const under = (pattern: RegExp) => sum(files.filter(({ path }) => pattern.test(path)));
    const total = sum(files);
    assert.equal(use.objects.bytes + use.deltas.bytes + use.other.bytes, total.bytes);
    assert.equal(use.objects.allocated + use.deltas.allocated + use.other.allocated, total.allocated);
    const du = execFileSync('sh', ['-c', 'find . ! -type d -print0 | du -cB1 --files0-from=- | tail -1'], {
      cwd: repo.path,
      encoding: 'utf8',
    });
    assert.equal(total.allocated, Number.parseInt(du, 10));
    const objects = files.filter(({ path }) => /^objects\/..\/.*\.(commit|dirtree|dirmeta|filez)$/.test(path));
    assert.equal(use.objects.objects, objects.length);
    assert.equal(use.objects.bytes, sum(objects).bytes + 'signed'.length);
    const superblocks = under(/^deltas\/..\/[^/]{40,}\//);
    assert.deepEqual(use.deltas, { deltas: 2, bytes: superblocks.bytes, allocated: superblocks.allocated });
    const [one, two] = use.roots;
    assert.deepEqual([one!.deltas.deltas, two!.deltas.deltas], [1, 1]);
    assert.equal(one!.deltas.bytes + two!.deltas.bytes, use.deltas.bytes);
    assert.equal(use.objects.linked, 0);
  });

  test('what a root alone needs is what is freed when it goes, to the byte', async (t) => {
    const repo = await newRepo(t);
    const commits = [
      await commitFiles(repo, { 'a/x': 1, 'a/y': 2, 'b/z': 3 }),
      await commitFiles(repo, { 'a/x': 1, 'a/y': 4, 'b/z': 3 }),
      await commitFiles(repo, { 'a/x': 5, 'c/y': 6, 'b/z': 7 }),
    ] as const;
    await setRef(repo, 'kept', commits[0]);
    const roots = commits.map((commit, index) => ({ name: String(index), commits: [commit] }));
    const before = await diskUse(repo, roots);
    const { deleted, bytesFreed } = await prune(repo, { refsOnly: true, depth: 0, keep: [commits[1]] });
    const { exclusive } = before.roots[2]!;
    const { unreferenced } = before; // the empty folder of which the trees were made
    assert.deepEqual(
      [exclusive.objects + unreferenced.objects, exclusive.bytes + unreferenced.bytes],
      [deleted, bytesFreed],
    );
    const after = await diskUse(repo, roots);
    assert.equal(after.objects.bytes, before.objects.bytes - bytesFreed);
    assert.deepEqual([after.roots[2]!.total.objects, after.roots[2]!.missing], [0, 1]);
    // What the second shared with the third only is its own now.
    assert.deepEqual(after.roots[1]!.total, before.roots[1]!.total);
    const together = await diskUse(repo, [{ name: 'both', commits: commits.slice(0, 2) }]);
    assert.deepEqual(together.roots[0]!.exclusive, together.roots[0]!.total);
    assert.equal(together.unreferenced.objects, 0);
  });

  test('random trees that share at random: as counted one object at a time', async (t) => {
    const folder = scratchFolder(t);
    let round = 0;
    const files = fc.dictionary(
      fc.constantFrom('a/x', 'a/y', 'b/x', 'b/y', 'c/x', 'd/z'),
      fc.integer({ min: 1, max: 6 }),
      { minKeys: 1 },
    );
    await fc.assert(
      fc.asyncProperty(
        fc.array(files, { minLength: 1, maxLength: 6 }),
        fc.array(fc.array(fc.nat(5), { maxLength: 3 }), { minLength: 1, maxLength: 5 }),
        async (trees, sets) => {
          const repo = await createRepo(join(folder, `r${round++}`));
          const commits: Checksum[] = [];
          for (const tree of trees) commits.push(await commitFiles(repo, tree));
          const roots = sets.map((set, index) => ({
            name: String(index),
            commits: set.map((which) => commits[which % commits.length]!),
          }));
          // Parts of one root are measured like roots.
          const [use, inParts] = [
            await diskUse(repo, roots),
            await diskUse(repo, [{ name: 'all', commits, parts: roots }]),
          ];
          const sizes = new Map(find(repo.path).map((file) => [file.path, file.bytes]));
          const closures: Set<string>[] = [];
          for (const root of roots) {
            const whole = new Set<string>();
            for (const commit of root.commits) for (const path of await closure(repo, commit)) whole.add(path);
            closures.push(whole);
          }
          const amount = (paths: string[]) => [
            paths.length,
            paths.reduce((total, path) => total + sizes.get(path)!, 0),
          ];
          for (const [index, whole] of closures.entries()) {
            const others = new Set(closures.filter((_, other) => other !== index).flatMap((one) => [...one]));
            const { total, exclusive, shared, missing } = use.roots[index]!;
            assert.equal(missing, 0);
            assert.deepEqual([total.objects, total.bytes], amount([...whole]));
            assert.deepEqual([exclusive.objects, exclusive.bytes], amount([...whole].filter((p) => !others.has(p))));
            assert.deepEqual([shared.objects, shared.bytes], amount([...whole].filter((p) => others.has(p))));
          }
          assert.deepEqual(
            inParts.roots[0]!.parts.map(({ name, total, exclusive }) => ({ name, total, exclusive })),
            use.roots.map(({ name, total, exclusive }) => ({ name, total, exclusive })),
          );
          const all = new Set(closures.flatMap((one) => [...one]));
          const objects = [...sizes.keys()].filter((path) => path.startsWith('objects/'));
          assert.deepEqual(
            [use.unreferenced.objects, use.unreferenced.bytes],
            amount(objects.filter((path) => !all.has(path))),
          );
          rmSync(repo.path, { recursive: true });
        },
      ),
      { numRuns: 40 },
    );
  });

  test('files that two repositories share are counted once, and said to be shared', async (t) => {
    const folder = scratchFolder(t);
    const store = await createRepo(join(folder, 'store'));
    const published = await createRepo(join(folder, 'published'));
    const commit = await commitFiles(store, { 'a/x': 1, 'a/y': 200 });
    await commitFiles(store, { 'b/z': 3 });
    await copyClosure(store, published, [commit], { trusted: true });
    const counted = new CountedFiles();
    const first = await diskUse(store, [], { counted });
    const second = await diskUse(published, [{ name: 'x', commits: [commit] }], { counted });
    assert.deepEqual(first.counted, { bytes: 0, allocated: 0 });
    assert.ok(second.objects.linked > 0);
    assert.equal(second.counted.bytes, second.objects.linked);
    assert.equal(second.roots[0]!.exclusive.linked, second.objects.linked);
    const du = Number.parseInt(
      execFileSync('sh', ['-c', 'find store published ! -type d -print0 | du -cB1 --files0-from=- | tail -1'], {
        cwd: folder,
        encoding: 'utf8',
      }),
      10,
    );
    const allocated = [first, second].reduce(
      (total, { objects, deltas, other, counted: again }) =>
        total + objects.allocated + deltas.allocated + other.allocated - again.allocated,
      0,
    );
    assert.equal(allocated, du);
  });

  test('objects of a parent repository take nothing here, and nothing is missing', async (t) => {
    const folder = scratchFolder(t);
    const parent = await createRepo(join(folder, 'parent'));
    const commit = await commitFiles(parent, { 'a/x': 1, 'b/y': 2 });
    await createRepo(join(folder, 'child'));
    const config = join(folder, 'child/config');
    writeFileSync(config, `${readFileSync(config, 'utf8')}parent=${parent.path}\n`);
    const child = await openRepo(join(folder, 'child'));
    const own = await commitFiles(child, { 'a/x': 5, 'b/y': 3 });
    const use = await diskUse(child, [
      { name: 'own', commits: [own] },
      { name: 'above', commits: [commit] },
    ]);
    const objects = sum(find(child.path).filter(({ path }) => path.startsWith('objects/')));
    assert.deepEqual([use.objects.bytes, use.roots[0]!.total.bytes], [objects.bytes, objects.bytes]);
    assert.deepEqual(
      use.roots.map(({ missing }) => missing),
      [0, 0],
    );
    assert.equal(use.roots[1]!.total.objects, 0);
  });

  test('a partial commit says how much is not there; a damaged one is an error', async (t) => {
    const repo = await newRepo(t);
    const commit = await commitFiles(repo, { 'a/x': 1, 'b/y': 2 });
    const { dirs } = await readDirTree(repo, (await readCommit(repo, commit)).tree.contents);
    rmSync(objectPath(repo, 'dirtree', dirs.get('a')!.contents));
    const roots = [{ name: 'x', commits: [commit] }];
    assert.equal((await diskUse(repo, roots)).roots[0]!.missing, 1);
    writeFileSync(objectPath(repo, 'dirtree', dirs.get('b')!.contents), 'x');
    await assert.rejects(diskUse(repo, roots), { code: 'corrupt' });
    await assert.rejects(diskUse(repo, roots, { signal: AbortSignal.abort() }), { name: 'AbortError' });
  });

  test('a repository of libostree, symlinks as files of their own', async (t) => {
    const folder = scratchFolder(t);
    execFileSync('sh', ['-c', 'mkdir -p t/d && echo x > t/d/x && ln -s x t/d/y && ln -s nowhere t/z'], { cwd: folder });
    for (const mode of ['archive', 'bare-user-only', ...(process.getuid?.() === 0 ? ['bare'] : [])]) {
      const path = join(folder, mode);
      ostree(`--repo=${path}`, 'init', `--mode=${mode}`);
      const commit = ostree(`--repo=${path}`, 'commit', '-b', 'main', '--canonical-permissions', join(folder, 't'));
      const use = await diskUse(await openRepo(path), [{ name: 'main', commits: [commit] }]);
      const objects = find(path).filter((file) => file.path.startsWith('objects/'));
      assert.deepEqual(
        [use.objects.objects, use.objects.bytes, use.unreferenced.objects, use.roots[0]!.missing],
        [objects.length, sum(objects).bytes, 0, 0],
        mode,
      );
      cpSync(path, `${path}-copy`, { recursive: true });
    }
  });
});
