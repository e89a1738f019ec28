import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { appendFileSync, mkdirSync, readFileSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { type TestContext, test } from 'node:test';
import { constants, gzipSync, zstdCompressSync } from 'node:zlib';
import fc from 'fast-check';
import { OstreeError } from '../errors.ts';
import type { Tree } from '../formats/object-name.ts';
import { createRepo, type Repo } from '../repo/repo.ts';
import { withTransaction } from '../repo/transaction.ts';
import { noise, writeSampleFolder } from '../testing/sample-repo.ts';
import { scratchFolder } from '../testing/scratch.ts';
import { writeFolder } from './folder.ts';
import { hashTableOrder } from './hash-order.ts';
import { type WriteTarOptions, writeTar } from './tar.ts';

async function setUp(t: TestContext): Promise<{ base: string; repo: Repo; folder: string }> {
  const base = scratchFolder(t);
  return { base, repo: await createRepo(join(base, 'repo')), folder: join(base, 'folder') };
}

function store(repo: Repo, data: Buffer | string, options: WriteTarOptions = {}): Promise<Tree> {
  const source = typeof data === 'string' ? data : Readable.from([data], { objectMode: false });
  return withTransaction(repo, (tx) => writeTar(tx, source, options));
}

test('archives are read whatever they are compressed with, also in several pieces', async (t) => {
  const { base, repo, folder } = await setUp(t);
  writeSampleFolder(folder);
  const expected = await withTransaction(repo, (tx) => writeFolder(tx, folder, { xattrs: false }));
  const tar = join(base, 'a.tar');
  execFileSync('tar', ['-C', folder, '-cf', tar, '.']);
  const plain = readFileSync(tar);
  const [one, two] = [plain.subarray(0, 1_000_000), plain.subarray(1_000_000)];
  const packed: Record<string, (data: Buffer) => Buffer> = {
    gzip: (data) => gzipSync(data, { level: 1 }),
    zstd: (data) => zstdCompressSync(data, { params: { [constants.ZSTD_c_checksumFlag]: 1 } }),
    xz: (data) => execFileSync('xz', ['-0'], { input: data, maxBuffer: 2 ** 28 }),
    bzip2: (data) => execFileSync('bzip2', ['-1'], { input: data, maxBuffer: 2 ** 28 }),
  };
  for (const [name, pack] of Object.entries(packed)) {
    const whole = pack(plain);
    assert.deepEqual(await store(repo, whole), expected, name);
    assert.deepEqual(await store(repo, Buffer.concat([pack(one), pack(two)])), expected, `${name}, twice`);
    for (const damaged of [whole.subarray(0, whole.length / 2), noisy(whole)]) {
      await assert.rejects(
        store(repo, damaged),
        (error: OstreeError) => error.code === 'invalid' || error.code === 'corrupt',
        name,
      );
    }
  }
});

function noisy(data: Buffer): Buffer {
  const changed = Buffer.from(data);
  noise(64).copy(changed, Math.floor(data.length / 2));
  return changed;
}

test('what needs absurd memory to unpack is refused', async (t) => {
  const { repo } = await setUp(t);
  // An LZMA2 dictionary of 1.5 GiB, said in the block's header.
  const huge = execFileSync('xz', ['--lzma2=dict=1536MiB,mode=fast,mf=hc3,nice=4'], { input: Buffer.alloc(2048) });
  await assert.rejects(store(repo, huge), { code: 'unsupported', message: /MiB of memory/ });
});

test('sparse files come out whole, in every form that GNU tar has for them', async (t) => {
  const { base, repo, folder } = await setUp(t);
  mkdirSync(folder);
  for (const [name, size] of [
    ['some', 3_000_000],
    ['none', 0],
    ['many', 0],
  ] as const)
    writeFileSync(join(folder, name), noise(size % 7));
  truncateSync(join(folder, 'some'), 3_000_000);
  appendFileSync(join(folder, 'some'), 'end');
  for (let hole = 1; hole <= 30; hole++) {
    truncateSync(join(folder, 'many'), hole * 65_536);
    appendFileSync(join(folder, 'many'), `piece ${hole}`);
  }
  truncateSync(join(folder, 'none'), 500_000);
  const expected = await withTransaction(repo, (tx) => writeFolder(tx, folder, { xattrs: false }));
  const forms = [['--format=gnu'], ...['0.0', '0.1', '1.0'].map((v) => ['--format=posix', `--sparse-version=${v}`])];
  for (const form of forms) {
    const tar = join(base, 'sparse.tar');
    execFileSync('tar', ['-S', ...form, '-C', folder, '-cf', tar, '.']);
    assert.ok(readFileSync(tar).length < 1_000_000);
    assert.deepEqual(await store(repo, tar), expected, form.join(' '));
    await mangled(readFileSync(tar), 40, repo);
  }
});

test('cpio archives are the trees that they were made of, with their hard links', async (t) => {
  const { base, repo, folder } = await setUp(t);
  writeSampleFolder(folder);
  execFileSync('sh', ['-c', 'ln etc/nothing etc/again; ln usr/bin/tool etc/tool; ln usr/bin/tool etc/tool2'], {
    cwd: folder,
  });
  const expected = await withTransaction(repo, (tx) => writeFolder(tx, folder, { xattrs: false }));
  for (const format of ['newc', 'crc', 'odc']) {
    const cpio = join(base, `${format}.cpio`);
    execFileSync('sh', ['-c', `find . | cpio -o -H ${format} 2>/dev/null > ${cpio}`], { cwd: folder });
    assert.deepEqual(await store(repo, cpio), expected, format);
    const small = join(base, 'small.cpio');
    execFileSync('sh', ['-c', `find etc usr/bin | cpio -o -H ${format} 2>/dev/null > ${small}`], { cwd: folder });
    await mangled(readFileSync(small), 40, repo);
  }
});

/** Whatever is changed or cut: a tree, or an error of ours. */
async function mangled(data: Buffer, runs: number, repo: Repo): Promise<void> {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.tuple(fc.nat(Math.min(data.length, 20_000) - 1), fc.nat(255)), { minLength: 1, maxLength: 3 }),
      fc.nat(data.length),
      fc.boolean(),
      async (edits, length, cut) => {
        const changed = Buffer.from(cut ? data.subarray(0, length) : data);
        for (const [at, byte] of edits) if (at < changed.length) changed[at] = byte;
        try {
          await store(repo, changed);
        } catch (error) {
          assert.ok(error instanceof OstreeError, String(error));
        }
      },
    ),
    { numRuns: runs },
  );
}

test('a file that says it is larger than the disk is refused before it is unpacked', async (t) => {
  const { base, repo, folder } = await setUp(t);
  mkdirSync(folder);
  writeFileSync(join(folder, 'huge'), '');
  truncateSync(join(folder, 'huge'), 2 ** 43);
  const tar = join(base, 'huge.tar');
  execFileSync('tar', ['-S', '--format=posix', '-C', folder, '-cf', tar, '.']);
  await assert.rejects(store(repo, tar), { code: 'no-space' });
});

test("keys come out of GLib's hash table in the order that GLib 2.74 gives", () => {
  const keys = Array.from({ length: 12 }, (_, index) => `key${index}`);
  const order = hashTableOrder([...keys, 'ostree.ref-binding', 'ostree.bootable', 'ostree.linux']);
  assert.equal(
    order.join(' '),
    'key6 ostree.bootable key5 key11 key4 key10 key3 key9 key2 key8 key1 key7 key0 ostree.linux ostree.ref-binding',
  );
  assert.equal(hashTableOrder(['a', 'b', 'a']).length, 2);
});
