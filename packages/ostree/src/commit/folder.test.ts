import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  closeSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  openSync,
  readdirSync,
  renameSync,
  rmSync,
  symlinkSync,
  truncateSync,
  utimesSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { checkout } from '../checkout/checkout.ts';
import type { Tree } from '../formats/object-name.ts';
import { hasClosure } from '../pull/closure.ts';
import { readCommit, readFileObject } from '../repo/objects.ts';
import { resolveRev } from '../repo/refs.ts';
import { createRepo, type Repo } from '../repo/repo.ts';
import { withTransaction } from '../repo/transaction.ts';
import { ostree, scratchFolder } from '../testing/scratch.ts';
import { type WriteFolderOptions, writeFolder } from './folder.ts';
import { openFolderIndex } from './folder-index.ts';
import { entryCheck } from './unchanged-entries.ts';
import { writeCommit } from './write-commit.ts';

const isRoot = process.getuid?.() === 0;

async function commitFolder(
  repo: Repo,
  folder: string,
  ref: string,
  options: WriteFolderOptions = {},
): Promise<string> {
  return withTransaction(repo, async (tx) => {
    const tree = await writeFolder(tx, folder, options);
    const commit = await writeCommit(tx, { tree, timestamp: 1 });
    tx.setRef(ref, commit);
    return commit;
  });
}

function sample(t: TestContext): { base: string; folder: string } {
  const base = scratchFolder(t);
  const folder = join(base, 'tree');
  mkdirSync(join(folder, 'usr/bin'), { recursive: true });
  mkdirSync(join(folder, 'empty'));
  writeFileSync(join(folder, 'usr/bin/run'), '#!/bin/sh\necho hi\n', { mode: 0o755 });
  writeFileSync(join(folder, 'nothing'), '');
  writeFileSync(join(folder, 'größe \u{1F600} $x'), 'odd name');
  writeFileSync(join(folder, 'setuid'), 'x');
  chmodSync(join(folder, 'setuid'), 0o4755);
  symlinkSync('usr/bin', join(folder, 'bin'));
  symlinkSync('/does/not/exist', join(folder, 'dangling'));
  return { base, folder };
}

function sameTreeAsOstree(repoPath: string, folder: string, ref: string, theirs: string): void {
  ostree('init', `--repo=${theirs}`, '--mode=archive');
  ostree('commit', `--repo=${theirs}`, '-b', ref, `--tree=dir=${folder}`, '-s', 'x');
  assert.equal(ostree(`--repo=${repoPath}`, 'ls', '-RCX', ref), ostree(`--repo=${theirs}`, 'ls', '-RCX', ref));
}

test('a folder has the checksums that ostree gives it, and passes its fsck', async (t) => {
  const { base, folder } = sample(t);
  if (isRoot) execFileSync('setfattr', ['-n', 'user.note', '-v', 'kept', join(folder, 'nothing')]);
  const repo = await createRepo(join(base, 'ours'));
  await commitFolder(repo, folder, 'x');
  sameTreeAsOstree(repo.path, folder, 'x', join(base, 'theirs'));
  ostree(`--repo=${repo.path}`, 'fsck');
});

test('a file larger than memory allows for is compressed in pieces that are one stream', async (t) => {
  const base = scratchFolder(t);
  const folder = join(base, 'tree');
  mkdirSync(folder);
  const noise = Buffer.concat(Array.from({ length: 9 }, (_, i) => Buffer.alloc(1_300_000, `line ${i} of a log\n`)));
  writeFileSync(join(folder, 'log'), noise);
  writeFileSync(join(folder, 'holes'), 'x');
  truncateSync(join(folder, 'holes'), 20_000_000);
  const repo = await createRepo(join(base, 'ours'));
  await commitFolder(repo, folder, 'x');
  ostree(`--repo=${repo.path}`, 'fsck');
  sameTreeAsOstree(repo.path, folder, 'x', join(base, 'theirs'));
});

test('an unchanged folder is not read again, and a changed file with its old mtime is', async (t) => {
  const { base, folder } = sample(t);
  const repo = await createRepo(join(base, 'ours'));
  const file = join(folder, 'usr/bin/run');
  utimesSync(file, 1000, 1000);
  await sleep(2100); // until then the stat cache does not trust what it sees
  const first = await commitFolder(repo, folder, 'x');
  assert.equal(await commitFolder(repo, folder, 'x'), first);
  // Each of its folders is seen to be what it was by numbers alone.
  const isUnchanged = (path: string) =>
    entryCheck()!(join(folder, path), openFolderIndex(repo, folder, true).find(path)!);
  assert.deepEqual(['/usr', '/usr/bin'].map(isUnchanged), [true, true]);
  writeFileSync(file, '#!/bin/sh\necho ho\n');
  utimesSync(file, 1000, 1000);
  assert.deepEqual(['/usr', '/usr/bin'].map(isUnchanged), [true, false]);
  const changed = await commitFolder(repo, folder, 'x');
  assert.notEqual(changed, first);
  assert.equal(await commitFolder(repo, folder, 'x', { statCache: false }), changed);
  chmodSync(file, 0o700);
  assert.equal(await commitFolder(repo, folder, 'x'), await commitFolder(repo, folder, 'x', { statCache: false }));
});

test('whatever happens to a folder, an index of it gives the tree that reading it gives', async (t) => {
  const { base, folder } = sample(t);
  const repo = await createRepo(join(base, 'ours'));
  const age = () => execFileSync('find', [folder, '-exec', 'touch', '-h', '-d', '@1000', '{}', '+']);
  const steps: [string, () => void][] = [
    ['nothing', () => {}],
    ['a file deep down', () => writeFileSync(join(folder, 'usr/bin/run'), 'other')],
    ['a new folder', () => mkdirSync(join(folder, 'usr/share/new/er'), { recursive: true })],
    ['a file in it', () => writeFileSync(join(folder, 'usr/share/new/er/file'), 'x')],
    ['permissions of a folder', () => chmodSync(join(folder, 'usr/share/new'), 0o700)],
    ['a name', () => renameSync(join(folder, 'usr/share/new'), join(folder, 'usr/share/old'))],
    ['a removal', () => rmSync(join(folder, 'usr/share/old/er'), { recursive: true })],
    [
      'a folder in place of a file',
      () => {
        rmSync(join(folder, 'usr/bin/run'));
        mkdirSync(join(folder, 'usr/bin/run'));
      },
    ],
    ['other owners', () => {}],
  ];
  let tree: Tree | null = null;
  age();
  await sleep(2100);
  for (const [what, step] of steps) {
    step();
    const options = what === 'other owners' ? { owner: { uid: 7 } } : {};
    tree = await withTransaction(repo, (tx) => writeFolder(tx, folder, { ...options, base: tree }));
    const read = await withTransaction(repo, (tx) => writeFolder(tx, folder, { ...options, statCache: false }));
    assert.deepEqual(tree, read, what);
    assert.deepEqual(await hasClosure(repo, tree), [], what);
    // What was just changed is not trusted for two seconds; every second step is made after that.
    if (what.length % 2 === 0) await sleep(2100);
  }
});

test('objects that the repository lost are stored again, unless a ref holds them', async (t) => {
  const { base, folder } = sample(t);
  const repo = await createRepo(join(base, 'ours'));
  await sleep(2100);
  const first = await withTransaction(repo, (tx) => writeFolder(tx, folder));
  rmSync(join(repo.path, 'objects'), { recursive: true });
  mkdirSync(join(repo.path, 'objects'));
  const again = await withTransaction(repo, (tx) => writeFolder(tx, folder));
  assert.deepEqual(again, first);
  assert.deepEqual(await hasClosure(repo, again), []);
});

test('a damaged stat cache is ignored', async (t) => {
  const { base, folder } = sample(t);
  const repo = await createRepo(join(base, 'ours'));
  const first = await commitFolder(repo, folder, 'x');
  const caches = join(repo.path, 'extensions/treeline/folders');
  for (const name of readdirSync(caches)) writeFileSync(join(caches, name), 'treeline-folder-index-1\nrubbish');
  assert.equal(await commitFolder(repo, folder, 'x'), first);
});

test('the options of ostree commit give the trees of ostree commit', async (t) => {
  const { base, folder } = sample(t);
  const repo = await createRepo(join(base, 'ours'));
  await commitFolder(repo, folder, 'x', { owner: { uid: 12, gid: 34 } });
  const theirs = join(base, 'theirs');
  ostree('init', `--repo=${theirs}`, '--mode=archive');
  ostree('commit', `--repo=${theirs}`, '-b', 'x', `--tree=dir=${folder}`, '--owner-uid=12', '--owner-gid=34');
  assert.equal(ostree(`--repo=${repo.path}`, 'ls', '-RC', 'x'), ostree(`--repo=${theirs}`, 'ls', '-RC', 'x'));
  await commitFolder(repo, folder, 'y', { canonicalPermissions: true });
  ostree('commit', `--repo=${theirs}`, '-b', 'y', `--tree=dir=${folder}`, '--canonical-permissions');
  assert.equal(ostree(`--repo=${repo.path}`, 'ls', '-RC', 'y'), ostree(`--repo=${theirs}`, 'ls', '-RC', 'y'));
});

test('bare-user-only repositories are as libostree writes them', async (t) => {
  const { base, folder } = sample(t);
  const repo = await createRepo(join(base, 'ours'), { mode: 'bare-user-only' });
  await commitFolder(repo, folder, 'x');
  ostree(`--repo=${repo.path}`, 'fsck');
  const theirs = join(base, 'theirs');
  ostree('init', `--repo=${theirs}`, '--mode=bare-user-only');
  ostree('commit', `--repo=${theirs}`, '-b', 'x', `--tree=dir=${folder}`);
  assert.equal(ostree(`--repo=${repo.path}`, 'ls', '-RC', 'x'), ostree(`--repo=${theirs}`, 'ls', '-RC', 'x'));
  const commit = await resolveRev(repo, 'x');
  await checkout(repo, (await readCommit(repo, commit)).tree, join(base, 'out'));
  execFileSync('diff', ['-r', '--no-dereference', folder, join(base, 'out')]);
});

test('devices and pipes are refused by name, and nothing is left behind', async (t) => {
  const { base, folder } = sample(t);
  const repo = await createRepo(join(base, 'ours'));
  execFileSync('mkfifo', [join(folder, 'usr/pipe')]);
  await assert.rejects(commitFolder(repo, folder, 'x'), { code: 'unsupported', message: /usr\/pipe/ });
  assert.deepEqual(readdirSync(join(repo.path, 'objects')), []);
  assert.deepEqual(readdirSync(join(repo.path, 'tmp')), ['cache']);
});

test('a large file that is written to meanwhile is refused, never stored under the wrong name', async (t) => {
  const base = scratchFolder(t);
  const folder = join(base, 'tree');
  mkdirSync(folder);
  const file = join(folder, 'large');
  const repo = await createRepo(join(base, 'ours'));
  let refused = 0;
  for (const delay of [0, 5, 20, 60, 120, 200]) {
    writeFileSync(file, Buffer.alloc(24_000_000, `content ${delay}\n`));
    const writing = sleep(delay).then(() => {
      const fd = openSync(file, 'r+');
      writeSync(fd, 'CHANGED', delay % 2 === 0 ? 100 : 20_000_000);
      closeSync(fd);
    });
    await commitFolder(repo, folder, 'x').catch((error: unknown) => {
      assert.equal((error as { code: string }).code, 'changed');
      refused++;
    });
    await writing;
    ostree(`--repo=${repo.path}`, 'fsck');
  }
  t.diagnostic(`${refused} of 6 commits were refused`);
});

test('content that comes from memory or a stream is the same object as a file', async (t) => {
  const base = scratchFolder(t);
  const repo = await createRepo(join(base, 'ours'));
  copyFileSync(process.execPath, join(base, 'node'));
  const size = 20_000_000;
  truncateSync(join(base, 'node'), size);
  const { createReadStream, readFileSync } = await import('node:fs');
  const header = { uid: 1, gid: 2, mode: 0o100644, symlinkTarget: '', xattrs: [] };
  const [streamed, buffered] = await withTransaction(repo, async (tx) => [
    await tx.writeFile(header, createReadStream(join(base, 'node'))),
    await tx.writeFile(header, readFileSync(join(base, 'node')).subarray(0, size)),
  ]);
  assert.equal(streamed.checksum, buffered.checksum);
  assert.equal(buffered.written, 0);
  assert.equal((await readFileObject(repo, streamed.checksum)).size, size);
  assert.ok(
    existsSync(join(repo.path, 'objects', streamed.checksum.slice(0, 2), `${streamed.checksum.slice(2)}.filez`)),
  );
});
