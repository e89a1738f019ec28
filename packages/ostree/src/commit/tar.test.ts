import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { chmodSync, linkSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { type TestContext, test } from 'node:test';
import { gzipSync, zstdCompressSync } from 'node:zlib';
import fc from 'fast-check';
import { type Pack, pack } from 'tar-stream';
import { OstreeError } from '../errors.ts';
import type { Tree } from '../formats/object-name.ts';
import { readDirMeta, readDirTree, readFileObject } from '../repo/objects.ts';
import { createRepo, type Repo } from '../repo/repo.ts';
import { withTransaction } from '../repo/transaction.ts';
import { noise, writeSampleFolder } from '../testing/sample-repo.ts';
import { ostree, scratchFolder } from '../testing/scratch.ts';
import { writeFolder } from './folder.ts';
import { type WriteTarOptions, writeTar } from './tar.ts';
import { writeCommit } from './write-commit.ts';

const isRoot = process.getuid?.() === 0;

async function store(repo: Repo, tar: Buffer | string, options: WriteTarOptions = {}): Promise<Tree> {
  const source = typeof tar === 'string' ? tar : Readable.from([tar], { objectMode: false });
  return withTransaction(repo, async (tx) => {
    const tree = await writeTar(tx, source, options);
    tx.setRef('tar', await writeCommit(tx, { tree }));
    return tree;
  });
}

async function emptyRepo(t: TestContext): Promise<Repo> {
  return createRepo(join(scratchFolder(t), 'repo'));
}

/** A tar archive from entries. */
async function archive(fill: (tar: Pack) => void): Promise<Buffer> {
  const tar = pack();
  fill(tar);
  tar.finalize();
  const chunks: Buffer[] = [];
  for await (const chunk of tar as AsyncIterable<Buffer>) chunks.push(chunk);
  return Buffer.concat(chunks);
}

test('an archive gives the tree of the folder it was made of, however it is compressed', async (t) => {
  const base = scratchFolder(t);
  const folder = join(base, 'folder');
  writeSampleFolder(folder);
  writeFileSync(join(folder, 'huge'), noise(9_000_000));
  writeFileSync(join(folder, 'setuid'), 'x');
  chmodSync(join(folder, 'setuid'), 0o4755);
  linkSync(join(folder, 'setuid'), join(folder, 'zz-same'));
  const long = `${'long'.repeat(30)}/${'name'.repeat(40)}`;
  mkdirSync(join(folder, long), { recursive: true });
  symlinkSync(`/${long}`, join(folder, long, 'l'));
  if (isRoot) execFileSync('setfattr', ['-n', 'user.note', '-v', '0x00ff0a3d20', join(folder, 'setuid')]);
  const repo = await createRepo(join(base, 'repo'));
  const expected = await withTransaction(repo, (tx) => writeFolder(tx, folder));
  for (const format of ['pax', 'gnu']) {
    const xattrs = format === 'pax' ? ['--xattrs', '--xattrs-include=*'] : [];
    const file = join(base, `${format}.tar`);
    execFileSync('tar', [`--format=${format}`, ...xattrs, '-C', folder, '-cf', file, '.']);
    const options = format === 'gnu' ? { xattrs: false } : {};
    const want = format === 'gnu' ? await withTransaction(repo, (tx) => writeFolder(tx, folder, options)) : expected;
    assert.deepEqual(await store(repo, file, options), want, format);
    const plain = readFileSync(file);
    assert.deepEqual(await store(repo, gzipSync(plain, { level: 1 }), options), want);
    assert.deepEqual(await store(repo, zstdCompressSync(plain), options), want);
  }
  const theirs = join(base, 'theirs');
  ostree(`--repo=${theirs}`, 'init', '--mode=archive');
  ostree(`--repo=${theirs}`, 'commit', '-b', 'tar', `--tree=tar=${join(base, 'pax.tar')}`);
  await withTransaction(repo, async (tx) => tx.setRef('tar', await writeCommit(tx, { tree: expected })));
  assert.equal(
    ostree(`--repo=${repo.path}`, 'ls', '-R', '-C', 'tar'),
    ostree(`--repo=${theirs}`, 'ls', '-R', '-C', 'tar'),
  );
});

test('names may begin with a dot or a slash, folders may be missing, and the last of a name counts', async (t) => {
  const repo = await emptyRepo(t);
  const tar = await archive((tar) => {
    tar.entry({ name: './a/b/c' }, 'first');
    tar.entry({ name: '/a//./b/c', mode: 0o600 }, 'second');
    tar.entry({ name: 'folder', type: 'symlink', linkname: 'x' });
    tar.entry({ name: 'folder/', type: 'directory', mode: 0o700 });
    tar.entry({ name: 'folder/inside' }, 'kept');
    tar.entry({ name: 'folder/', type: 'directory', mode: 0o711, uid: 7, gid: 8 });
    tar.entry({ name: 'other', type: 'link', linkname: './a/b/c' });
    tar.entry({ name: './', type: 'directory', mode: 0o750 });
  });
  const tree = await store(repo, tar);
  const root = await readDirTree(repo, tree.contents);
  assert.deepEqual([...root.dirs.keys(), ...root.files.keys()], ['a', 'folder', 'other']);
  assert.equal((await readDirMeta(repo, tree.meta)).mode, 0o40750);
  const { uid, gid, mode } = await readDirMeta(repo, root.dirs.get('folder')!.meta);
  assert.deepEqual([uid, gid, mode], [7, 8, 0o40711]);
  assert.equal((await readDirMeta(repo, root.dirs.get('a')!.meta)).mode, 0o40755);
  const file = await readFileObject(repo, root.files.get('other')!);
  assert.equal(file.header.mode, 0o100600);
  assert.equal(String((await file.content().toArray())[0]), 'second');
  assert.equal((await readDirTree(repo, root.dirs.get('folder')!.contents)).files.size, 1);
  await assert.rejects(store(repo, tar, { createParents: false }), { code: 'invalid' });
});

test('a filter leaves out what it is told to, with all below it', async (t) => {
  const repo = await emptyRepo(t);
  const tar = await archive((tar) => {
    tar.entry({ name: 'keep/file' }, 'x');
    tar.entry({ name: 'drop', type: 'directory' });
    tar.entry({ name: 'drop/file' }, 'x');
    tar.entry({ name: 'drop/device', type: 'character-device' });
  });
  const tree = await store(repo, tar, { filter: (path) => path !== '/drop', owner: { uid: 3, gid: 4 } });
  const root = await readDirTree(repo, tree.contents);
  assert.deepEqual([...root.dirs.keys()], ['keep']);
  const keep = await readDirTree(repo, root.dirs.get('keep')!.contents);
  assert.equal((await readFileObject(repo, keep.files.get('file')!)).header.uid, 3);
});

test('a hard link may come before its target, and lead to another link', async (t) => {
  const repo = await emptyRepo(t);
  const tar = await archive((tar) => {
    tar.entry({ name: 'dir/first', type: 'link', linkname: 'second' });
    tar.entry({ name: 'again', type: 'link', linkname: 'dir/first' });
    tar.entry({ name: 'replaced', type: 'link', linkname: 'nothing' });
    tar.entry({ name: 'second', type: 'link', linkname: './file' });
    tar.entry({ name: 'file', mode: 0o600 }, 'content');
    tar.entry({ name: 'replaced' }, 'not a link any more');
  });
  const root = await readDirTree(repo, (await store(repo, tar)).contents);
  const dir = await readDirTree(repo, root.dirs.get('dir')!.contents);
  const file = root.files.get('file')!;
  assert.match(file, /^[0-9a-f]{64}$/);
  assert.deepEqual([dir.files.get('first'), root.files.get('again'), root.files.get('second')], [file, file, file]);
  assert.notEqual(root.files.get('replaced'), file);
});

test('what a tree cannot hold is refused, and nothing is stored', async (t) => {
  const repo = await emptyRepo(t);
  const cases: [fill: (tar: Pack) => void, code: string, message: RegExp][] = [
    [(tar) => tar.entry({ name: 'a/../../b' }, 'x'), 'invalid', /another folder/],
    [(tar) => tar.entry({ name: '..', type: 'directory' }), 'invalid', /another folder/],
    [(tar) => tar.entry({ name: 'dev', type: 'block-device' }), 'unsupported', /device/],
    [(tar) => tar.entry({ name: 'a', type: 'link', linkname: '../etc/passwd' }), 'invalid', /another folder/],
    [(tar) => tar.entry({ name: 'a', type: 'link', linkname: 'nothing' }), 'invalid', /\/a is a hard link to nothing/],
    [
      (tar) => tar.entry({ name: 'a', type: 'link', linkname: 'a' }),
      'invalid',
      /\/a is a hard link to a: .*each other/,
    ],
    [
      (tar) => {
        tar.entry({ name: 'a', type: 'link', linkname: 'b' });
        tar.entry({ name: 'b', type: 'link', linkname: 'c' });
        tar.entry({ name: 'c', type: 'link', linkname: 'b' });
      },
      'invalid',
      /hard link .*each other/,
    ],
    [
      (tar) => {
        tar.entry({ name: 'a', type: 'link', linkname: 'd' });
        tar.entry({ name: 'd', type: 'directory' });
      },
      'invalid',
      /\/a is a hard link to d, which is a folder/,
    ],
    [() => {}, 'invalid', /empty archive/],
    [(tar) => tar.entry({ name: 'a', type: 'symlink', linkname: '' }), 'invalid', /without a target/],
    [
      (tar) => {
        tar.entry({ name: 'a', type: 'symlink', linkname: '/etc' });
        tar.entry({ name: 'a/passwd' }, 'x');
      },
      'invalid',
      /not a folder/,
    ],
    [(tar) => tar.entry({ name: `${'d/'.repeat(3000)}f` }, 'x'), 'unsupported', /4096/],
  ];
  for (const [fill, code, message] of cases) {
    const tar = await archive(fill);
    await assert.rejects(store(repo, tar), { code, message });
  }
  const device = await archive((tar) => tar.entry({ name: 'dev', type: 'fifo' }));
  const tree = await store(repo, device, { skipDevices: true });
  assert.equal((await readDirTree(repo, tree.contents)).files.size, 0);
  for (const nothing of [Buffer.alloc(0), gzipSync(''), zstdCompressSync('')]) {
    await assert.rejects(store(repo, nothing), { code: 'invalid', message: /empty archive/ });
  }
  const xz = Buffer.from('fd377a585a000000', 'hex'); // cut short
  await assert.rejects(store(repo, xz), { code: 'invalid', message: /too early/ });
  await assert.rejects(store(repo, Buffer.from('no tar at all'.repeat(100))), { code: 'invalid', offset: 0 });
  await assert.rejects(store(repo, gzipSync(noise(50_000)).subarray(0, 30_000)), { code: 'invalid' });
});

test('a cut or changed archive is an error or an archive, never a crash', async (t) => {
  const repo = await emptyRepo(t);
  const whole = await archive((tar) => {
    tar.entry({ name: 'x'.repeat(300) }, 'long name');
    tar.entry({ name: 'file', pax: { 'SCHILY.xattr.user.a': 'b' } }, 'content');
    tar.entry({ name: 'link', type: 'link', linkname: 'file' });
  });
  const change = fc.record({
    at: fc.nat(whole.length - 1),
    byte: fc.nat(255),
    fix: fc.boolean(),
    cut: fc.nat(whole.length),
  });
  await fc.assert(
    fc.asyncProperty(fc.array(change, { minLength: 1, maxLength: 4 }), async (changes) => {
      let data = Buffer.from(whole);
      for (const { at, byte, fix, cut } of changes) {
        data[at % data.length] = byte;
        if (fix) fixChecksum(data, at - (at % 512));
        else if (cut > 512) data = data.subarray(0, cut);
      }
      await store(repo, data).catch((error: unknown) => assert.ok(error instanceof OstreeError, String(error)));
    }),
    { numRuns: 150 },
  );
});

function fixChecksum(data: Buffer, at: number): void {
  if (at + 512 > data.length) return;
  data.fill(0x20, at + 148, at + 156);
  let sum = 0;
  for (let index = at; index < at + 512; index++) sum += data[index]!;
  data.write(`${sum.toString(8).padStart(6, '0')}\0 `, at + 148, 'latin1');
}
