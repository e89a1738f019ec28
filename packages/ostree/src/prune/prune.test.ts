import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, lstatSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, type TestContext, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import fc from 'fast-check';
import { writeCommit } from '../commit/write-commit.ts';
import { decodeDirTree, encodeDirTree } from '../formats/dirtree.ts';
import { visitDirTree } from '../formats/dirtree-children.ts';
import { S_IFREG } from '../formats/mode.ts';
import type { Checksum } from '../formats/object-name.ts';
import { hasClosure } from '../pull/closure.ts';
import { copyClosure } from '../pull/copy.ts';
import { partialMark } from '../pull/known-trees.ts';
import { setCollectionRef } from '../repo/collection-refs.ts';
import { lockRepo } from '../repo/lock.ts';
import { hasObject, objectPath, readCommit } from '../repo/objects.ts';
import { setRef } from '../repo/refs.ts';
import { createRepo, openRepo, type Repo } from '../repo/repo.ts';
import { type Transaction, withTransaction } from '../repo/transaction.ts';
import { ostree, scratchFolder } from '../testing/scratch.ts';
import { until } from '../testing/until.ts';
import { ChecksumSet } from './checksum-set.ts';
import { deleteCommit } from './delete-commit.ts';
import { ObjectListing } from './object-listing.ts';
import { type PruneOptions, prune } from './prune.ts';

const header = { uid: 0, gid: 0, mode: S_IFREG | 0o644, symlinkTarget: '', xattrs: [] };

/** A commit with a file of its own and one that all have, each in a folder. */
async function commitOn(
  repo: Repo,
  branch: string | null,
  name: string,
  options: { parent?: Checksum; timestamp?: number } = {},
): Promise<Checksum> {
  return withTransaction(repo, async (tx) => {
    const commit = await writeCommit(tx, { tree: await treeOf(tx, name), ...options });
    if (branch) tx.setRef(branch, commit);
    return commit;
  });
}

async function treeOf(tx: Transaction, name: string) {
  const own = await tx.writeFile(header, Buffer.from(`only in ${name}`));
  const shared = await tx.writeFile(header, Buffer.from('in all'));
  const { meta } = tx.emptyTree();
  const folder = (file: string, checksum: Checksum) =>
    tx.writeDirTree({ files: new Map([[file, checksum]]), dirs: new Map() });
  const dirs = new Map([
    ['common', { contents: folder('x', shared.checksum), meta }],
    [name, { contents: folder('own', own.checksum), meta }],
  ]);
  return { contents: tx.writeDirTree({ files: new Map(), dirs }), meta };
}

async function chain(repo: Repo, branch: string, count: number, timestamp = 1000): Promise<Checksum[]> {
  const commits: Checksum[] = [];
  for (let index = 0; index < count; index++) {
    const parent = commits.at(-1);
    const options = { timestamp: timestamp + index, ...(parent && { parent }) };
    commits.push(await commitOn(repo, branch, `${branch}-${index}`, options));
  }
  return commits;
}

const newRepo = (t: TestContext) => createRepo(join(scratchFolder(t), 'repo'));
const present = (repo: Repo, commits: Checksum[]) => commits.map((commit) => hasObject(repo, 'commit', commit));
function objectsOf(repo: Repo): string[] {
  const paths: string[] = [];
  for (const _ of new ObjectListing(repo).visit((_folder, file, _type, path) => paths.push(`${path}/${file}`)));
  return paths;
}
const count = (repo: Repo) => objectsOf(repo).length;

/** Prunes one copy of a repository with each, and holds the results against each other. */
async function asOstreeDoes(t: TestContext, repo: Repo, options: PruneOptions, args: string[]): Promise<void> {
  const other = `${repo.path}-theirs`;
  ostree(`--repo=${other}`, 'init', '--mode=archive'); // makes the folder
  rmSync(other, { recursive: true });
  t.after(() => rmSync(other, { recursive: true, force: true }));
  (await import('node:fs')).cpSync(repo.path, other, { recursive: true });
  const theirs = ostree(`--repo=${other}`, 'prune', ...args);
  const report = await prune(repo, options);
  const list = (path: string) => readdirSync(join(path, 'objects'), { recursive: true, encoding: 'utf8' }).sort();
  const files = (path: string) => list(path).filter((name) => name.length > 3);
  assert.deepEqual(files(repo.path), files(other), args.join(' '));
  assert.match(theirs, new RegExp(`Total.* objects: ${report.objects}\\n`));
  if (report.deleted > 0) assert.match(theirs, new RegExp(`Deleted ${report.deleted} objects`));
  else assert.match(theirs, /No unreachable objects/);
}

describe('prune', () => {
  const since = (seconds: number) => `--keep-younger-than=@${seconds}`;
  const cases: [string, PruneOptions, string[]][] = [
    ['everything', {}, []],
    ['refs only', { refsOnly: true }, ['--refs-only']],
    ['refs without history', { refsOnly: true, depth: 0 }, ['--refs-only', '--depth=0']],
    ['refs with a parent', { refsOnly: true, depth: 1 }, ['--refs-only', '--depth=1']],
    ['what is young', { keepYoungerThan: 1002 }, [since(1002)]],
    ['no branch but one', { onlyBranches: ['a'], depth: 0 }, ['--only-branch=a', '--depth=0']],
    [
      'each branch its own depth',
      { retainBranchDepth: new Map([['a', 2]]), depth: 0 },
      ['--retain-branch-depth=a=2', '--depth=0'],
    ],
    [
      'one branch longer than what is young',
      { keepYoungerThan: 1003, retainBranchDepth: new Map([['b', -1]]) },
      [since(1003), '--retain-branch-depth=b=-1'],
    ],
    ['commits alone', { refsOnly: true, depth: 0, commitOnly: true }, ['--refs-only', '--depth=0', '--commit-only']],
  ];
  for (const [name, options, args] of cases) {
    test(`keeps what ostree keeps: ${name}`, async (t) => {
      const repo = await newRepo(t);
      await chain(repo, 'a', 4);
      await chain(repo, 'b', 5);
      await setRef(repo, 'origin:c', await commitOn(repo, null, 'c'));
      await commitOn(repo, null, 'orphan');
      await asOstreeDoes(t, repo, options, args);
      ostree(`--repo=${repo.path}`, 'fsck');
    });
  }

  test('a dry run says the same and deletes nothing', async (t) => {
    const repo = await newRepo(t);
    await chain(repo, 'a', 3);
    const before = count(repo);
    const dry = await prune(repo, { refsOnly: true, depth: 0, dryRun: true });
    assert.equal(count(repo), before);
    assert.deepEqual(await prune(repo, { refsOnly: true, depth: 0 }), dry);
    assert.equal(count(repo), before - dry.deleted);
    assert.ok(dry.bytesFreed > 0);
  });

  test('refs of collections and what is asked for are kept', async (t) => {
    const repo = await newRepo(t);
    const [mirrored, kept, lost] = [
      await commitOn(repo, null, 'mirrored'),
      await commitOn(repo, null, 'kept'),
      await commitOn(repo, null, 'lost'),
    ];
    await setCollectionRef(repo, { collection: 'org.example.Os', ref: 'os/main' }, mirrored);
    await prune(repo, { refsOnly: true, keep: [kept] });
    assert.deepEqual(present(repo, [mirrored, kept, lost]), [true, true, false]);
    await prune(repo, { keepYoungerThan: 5_000_000_000, keep: [kept] });
    assert.deepEqual(present(repo, [mirrored, kept]), [true, true]);
    ostree(`--repo=${repo.path}`, 'fsck');
  });

  test('objects of the parent repository are followed, never deleted', async (t) => {
    const folder = scratchFolder(t);
    const parent = await createRepo(join(folder, 'parent'));
    await chain(parent, 'a', 2);
    const before = count(parent);
    const child = await createRepo(join(folder, 'child'));
    writeFileSync(join(child.path, 'config'), `${readFileSync(join(child.path, 'config'))}parent=${parent.path}\n`);
    const repo = await openRepo(child.path);
    const commit = await commitOn(repo, 'own', 'own');
    for (const path of objectsOf(parent)) rmSync(path.replace(parent.path, repo.path), { force: true });
    await prune(repo, { refsOnly: true });
    assert.deepEqual(present(repo, [commit]), [true]);
    assert.equal(count(parent), before);
  });

  test('a partial commit may lack folders, a whole one may not: then nothing is deleted', async (t) => {
    const repo = await newRepo(t);
    const [first, second] = (await chain(repo, 'a', 2)) as [Checksum, Checksum];
    const { tree } = await readCommit(repo, second);
    rmSync(objectPath(repo, 'dirtree', tree.contents));
    await assert.rejects(prune(repo, { refsOnly: true, depth: 0 }), { code: 'not-found' });
    assert.deepEqual(present(repo, [first]), [true]);
    writeFileSync(partialMark(repo, second), '');
    await prune(repo, { refsOnly: true, depth: 0 });
    assert.deepEqual(present(repo, [first, second]), [false, true]);
  });

  test('a damaged folder or commit stops it, since what they need cannot be known', async (t) => {
    const repo = await newRepo(t);
    const [first, second] = (await chain(repo, 'a', 2)) as [Checksum, Checksum];
    const { tree } = await readCommit(repo, second);
    const path = objectPath(repo, 'dirtree', tree.contents);
    const whole = readFileSync(path);
    writeFileSync(path, encodeDirTree({ files: new Map(), dirs: new Map() }));
    await assert.rejects(prune(repo, { refsOnly: true, depth: 0 }), { code: 'corrupt' });
    writeFileSync(path, whole);
    const commit = readFileSync(objectPath(repo, 'commit', second));
    writeFileSync(objectPath(repo, 'commit', second), 'x');
    await assert.rejects(prune(repo, { refsOnly: true, depth: 0 }), { code: 'corrupt' });
    writeFileSync(objectPath(repo, 'commit', second), commit);
    writeFileSync(join(repo.path, 'refs/heads/broken'), 'x\n');
    await assert.rejects(prune(repo, { refsOnly: true, depth: 0 }), { code: 'corrupt' });
    assert.deepEqual(present(repo, [first, second]), [true, true]);
  });

  test('what is young stays, with all that it needs, whoever needs it', async (t) => {
    const repo = await newRepo(t);
    await commitOn(repo, 'a', 'a');
    const [old, doomed] = [await commitOn(repo, null, 'old'), await commitOn(repo, null, 'doomed')];
    const before = count(repo);
    await sleep(30);
    const storedBefore = Date.now();
    await sleep(30);
    // Of this commit only the commit itself is young, of the folder only the folder: what they need is old garbage.
    const young = await commitOn(repo, null, 'old', { timestamp: 5 });
    const folder = await withTransaction(repo, async (tx) => {
      const { contents } = (await readCommit(repo, doomed)).tree;
      const { meta } = tx.emptyTree();
      return tx.writeDirTree({ files: new Map(), dirs: new Map([['below', { contents, meta }]]) });
    });
    const dry = await prune(repo, { refsOnly: true, storedBefore, dryRun: true });
    assert.deepEqual(await prune(repo, { refsOnly: true, storedBefore }), dry);
    assert.deepEqual(present(repo, [old, doomed, young]), [false, false, true]);
    // Gone are the two commits and the empty folder of which trees were made.
    assert.equal(count(repo), before + 2 - 3);
    ostree(`--repo=${repo.path}`, 'fsck');
    ostree(`--repo=${repo.path}`, 'ls', '-R', young);
    const whole = await commitOn(repo, null, 'doomed', { timestamp: 6 });
    assert.ok(hasObject(repo, 'dirtree', folder));
    assert.deepEqual(await hasClosure(repo, (await readCommit(repo, whole)).tree), []);
    await prune(repo, { refsOnly: true });
    assert.deepEqual(present(repo, [young, whole]), [false, false]);
    assert.ok(!hasObject(repo, 'dirtree', folder));
  });

  test('bytes that another hard link keeps are said apart', async (t) => {
    const repo = await newRepo(t);
    const commit = await commitOn(repo, null, 'shared');
    const other = await createRepo(`${repo.path}-other`);
    await copyClosure(repo, other, [commit], { trusted: true });
    const garbage = await prune(repo, { refsOnly: false }); // the empty folder of which trees are made
    assert.equal(garbage.bytesLinked, 0);
    const { bytesFreed, bytesLinked } = await prune(repo, { refsOnly: true });
    const linked = objectsOf(other).map((path) => lstatSync(path).size);
    assert.ok(bytesLinked > 0);
    assert.equal(
      bytesFreed,
      linked.reduce((total, size) => total + size, 0),
    );
    assert.ok(bytesLinked <= bytesFreed);
    assert.deepEqual(await prune(other, { refsOnly: true }), {
      objects: linked.length,
      deleted: linked.length,
      bytesFreed,
      bytesLinked: 0,
    });
  });

  test('a deleted commit leaves a tombstone where it is wanted', async (t) => {
    const repo = await newRepo(t);
    const [first, second, third] = (await chain(repo, 'a', 3)) as [Checksum, Checksum, Checksum];
    await assert.rejects(deleteCommit(repo, third), { code: 'exists', message: /is referenced by 'a'/ });
    await deleteCommit(repo, first);
    await assert.rejects(deleteCommit(repo, first), { code: 'not-found' });
    const tombstone = (commit: Checksum) => existsSync(objectPath(repo, 'tombstone-commit', commit));
    assert.deepEqual([first, second, third].map(tombstone), [true, false, false]);
    await prune(await openRepo(repo.path), { refsOnly: true, depth: 0 });
    assert.deepEqual([first, second, third].map(tombstone), [true, true, false]);
    ostree(`--repo=${repo.path}`, 'fsck');
  });
});

describe('while others commit', () => {
  test('what a commit of meanwhile needs is not deleted, though nothing needed it before', async (t) => {
    const repo = await newRepo(t);
    const doomed = await commitOn(repo, null, 'again');
    await chain(repo, 'a', 2);
    const release = await lockRepo(repo, 'shared'); // a transaction that began before
    const pruning = prune(repo, { refsOnly: true });
    await new Promise((resolve) => setTimeout(resolve, 60)); // it has walked, and waits to delete
    assert.ok(hasObject(repo, 'commit', doomed));
    const same = await commitOn(repo, null, 'again', { timestamp: 5 }); // finds all its files here
    release();
    await pruning;
    assert.deepEqual(present(repo, [doomed, same]), [false, true]);
    ostree(`--repo=${repo.path}`, 'refs', '--create=same', same);
    ostree(`--repo=${repo.path}`, 'fsck');
  });

  test('what is to be kept is asked again when nobody writes, just before anything goes', async (t) => {
    const repo = await newRepo(t);
    const [wanted, doomed] = [await commitOn(repo, null, 'wanted'), await commitOn(repo, null, 'doomed')];
    const release = await lockRepo(repo, 'shared');
    const keep: Checksum[] = [];
    let asked = 0;
    const pruning = prune(repo, {
      refsOnly: true,
      keep: async () => {
        asked++;
        await sleep(1);
        return keep;
      },
    });
    await until(() => asked === 1, 'the first question');
    await sleep(60);
    assert.equal(asked, 1, 'it waits for the lock');
    keep.push(wanted); // somebody decides to publish it, and finds it here
    release();
    await pruning;
    assert.ok(asked > 1);
    assert.deepEqual(present(repo, [wanted, doomed]), [true, false]);
    assert.deepEqual(await hasClosure(repo, (await readCommit(repo, wanted)).tree), []);
  });

  test('ostree and this library commit what is just being deleted, again and again, and all of it is whole', async (t) => {
    const repo = await newRepo(t);
    const tree = join(scratchFolder(t), 'tree');
    const script = `
      set -e
      for i in $(seq 12); do
        rm -rf "${tree}"; mkdir -p "${tree}"
        for f in $(seq 40); do echo "content $((f % 7)) of $((i % 3))" > "${tree}/f$f"; done
        ostree --repo=${repo.path} commit -b theirs-$((i % 2)) --fsync=false "${tree}" >/dev/null
        ostree --repo=${repo.path} refs --delete theirs-$(((i + 1) % 2))
      done`;
    const theirs = spawn('sh', ['-c', script], { stdio: ['ignore', 'ignore', 'inherit'] });
    const ended = once(theirs, 'exit');
    const ours = (async () => {
      for (let round = 0; theirs.exitCode === null; round++) {
        await commitOn(repo, `ours-${round % 2}`, `n${round % 3}`, { timestamp: round });
        await setRef(repo, `ours-${(round + 1) % 2}`, null);
      }
    })();
    let pruned = 0;
    while (theirs.exitCode === null) pruned += (await prune(repo, { refsOnly: true, depth: 0 })).deleted;
    await ours;
    assert.deepEqual(await ended, [0, null]);
    assert.ok(pruned > 0);
    ostree(`--repo=${repo.path}`, 'fsck');
  });

  test('it can be called off while it waits for the lock', async (t) => {
    const repo = await newRepo(t);
    const commits = await chain(repo, 'a', 2);
    const release = await lockRepo(repo, 'shared');
    await assert.rejects(prune(repo, { refsOnly: true, depth: 0, signal: AbortSignal.timeout(100) }), {
      name: 'AbortError',
    });
    release();
    assert.deepEqual(present(repo, commits), [true, true]);
  });
});

describe('what it walks with', () => {
  test('a set of checksums is a set, however large', () => {
    const checksum = fc.uint8Array({ minLength: 32, maxLength: 32 }).map((bytes) => Buffer.from(bytes).toString('hex'));
    fc.assert(
      fc.property(fc.array(checksum, { maxLength: 300 }), fc.array(checksum), (added, asked) => {
        const set = new ChecksumSet(1);
        const model = new Set<string>();
        for (const one of [...added, ...added.slice(0, 5)]) {
          assert.equal(set.add(one), !model.has(one));
          model.add(one);
        }
        assert.equal(set.size, model.size);
        for (const one of [...asked, ...added]) assert.equal(set.has(one), model.has(one));
      }),
    );
  });

  test('the children of a folder are found as a full decoder finds them', () => {
    const name = fc
      .string({ unit: 'grapheme', minLength: 1, maxLength: 120 })
      .filter((text) => !/[\0/\ufffd]|^\.\.?$/.test(text) && text.isWellFormed());
    const checksum = fc.uint8Array({ minLength: 32, maxLength: 32 }).map((bytes) => Buffer.from(bytes).toString('hex'));
    const visit = (data: Buffer) => {
      const found: string[] = [];
      visitDirTree(data, 'x', {
        file: (item, at) => found.push(item.toString('hex', at, at + 32)),
        folder: (item, at, metaAt) =>
          found.push(item.toString('hex', at, at + 32), item.toString('hex', metaAt, metaAt + 32)),
      });
      return found;
    };
    fc.assert(
      fc.property(
        fc.uniqueArray(name, { maxLength: 20 }),
        fc.array(checksum, { minLength: 40, maxLength: 40 }),
        fc.nat(),
        fc.nat(255),
        (names, checksums, at, byte) => {
          const half = names.length >> 1;
          const data = encodeDirTree({
            files: new Map(names.slice(0, half).map((one, index) => [one, checksums[index]!])),
            dirs: new Map(
              names
                .slice(half)
                .map((one, index) => [one, { contents: checksums[20 + index]!, meta: checksums[index]! }]),
            ),
          });
          const { files, dirs } = decodeDirTree(data, 'x');
          assert.deepEqual(visit(data), [
            ...files.values(),
            ...[...dirs.values()].flatMap(({ contents, meta }) => [contents, meta]),
          ]);
          // Damaged bytes are refused or make other checksums; nothing else happens.
          data[at % Math.max(data.length, 1)] = byte;
          for (const damaged of [data, data.subarray(0, at % (data.length + 1))]) {
            try {
              for (const one of visit(damaged)) assert.equal(one.length, 64);
            } catch (error) {
              assert.equal((error as { code?: string }).code, 'corrupt');
            }
          }
        },
      ),
    );
  });
});
