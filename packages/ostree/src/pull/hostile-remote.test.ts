import assert from 'node:assert/strict';
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { type TestContext, test } from 'node:test';
import fc from 'fast-check';
import { writeCommit } from '../commit/write-commit.ts';
import { deltaFolder } from '../delta/names.ts';
import { encodeCommit } from '../formats/commit.ts';
import { type Checksum, checksumToBytes, loosePath } from '../formats/object-name.ts';
import { encodeSummary, type SummaryRef } from '../formats/summary.ts';
import { encode } from '../gvariant/encode.ts';
import { objectPath, readCommit } from '../repo/objects.ts';
import { listRefs, readRef } from '../repo/refs.ts';
import { createRepo, type Repo } from '../repo/repo.ts';
import { withTransaction } from '../repo/transaction.ts';
import { plainFiles, startServer } from '../testing/http.ts';
import { ostree, scratchFolder } from '../testing/scratch.ts';
import { pull } from './pull.ts';
import { RemoteSummary } from './remote-summary.ts';

async function commitOf(repo: Repo, parent: Checksum | null = null, subject = ''): Promise<Checksum> {
  return withTransaction(repo, async (tx) => {
    const commit = await writeCommit(tx, { tree: tx.emptyTree(), timestamp: 1, parent, subject });
    tx.setRef('main', commit);
    return commit;
  });
}

/** A repository, and a server that tells lies about some of its files. */
async function liar(t: TestContext) {
  const base = scratchFolder(t);
  const theirs = await createRepo(join(base, 'theirs'));
  const commit = await commitOf(theirs);
  const lies = new Map<string, Buffer | null>();
  const files = plainFiles(theirs.path);
  const url = await startServer(t, (req, res, path) => {
    const lie = lies.get(path);
    if (lie === undefined) return files(req, res, path);
    if (lie === null) res.writeHead(404).end();
    else res.writeHead(200, { 'content-length': lie.length }).end(lie);
  });
  const repo = await createRepo(join(base, 'ours'), { mode: 'bare-user-only' });
  return { base, theirs, commit, lies, url, repo };
}

test('a summary of a million refs costs no more than its bytes', async (t) => {
  const { url, repo, lies, commit, theirs } = await liar(t);
  const size = readFileSync(objectPath(theirs, 'commit', commit)).length;
  const entry = encode('(s(taya{sv}))', ['r0000000', [BigInt(size), checksumToBytes(commit), []]]);
  const count = 1_000_000;
  const stride = Math.ceil(entry.length / 8) * 8;
  // 8-byte alignment, and an offset of four bytes for each: what encode makes of it, but in a second.
  const offsets = Buffer.alloc(count * 4);
  const body = Buffer.alloc(stride * (count - 1) + entry.length);
  for (let index = 0; index < count; index++) {
    entry.copy(body, index * stride);
    body.write(`r${String(index).padStart(7, '0')}`, index * stride, 'latin1');
    offsets.writeUInt32LE(index * stride + entry.length, index * 4);
  }
  const refs = Buffer.concat([body, offsets]);
  const padding = Buffer.alloc((8 - (refs.length % 8)) % 8);
  const end = Buffer.alloc(4);
  end.writeUInt32LE(refs.length);
  lies.set('/summary', Buffer.concat([refs, padding, end]));
  globalThis.gc?.();
  const before = process.memoryUsage().heapUsed;
  const started = process.cpuUsage();
  const stats = await pull(repo, { url, refs: ['r0777777'] });
  const heap = process.memoryUsage().heapUsed - before;
  assert.equal(stats.commits.get('r0777777'), commit);
  assert.ok(heap < 50_000_000, `${heap} bytes of heap`);
  assert.ok(process.cpuUsage(started).user < 5_000_000);
  await assert.rejects(pull(repo, { url, refs: ['r1000000'] }), { code: 'not-found' });
});

test('a summary says no more than it says to decode, and mutated ones break nothing', async () => {
  const commit = 'ab'.repeat(32);
  const refs = new Map<string, SummaryRef>();
  for (let index = 0; index < 40; index++) refs.set(`refs/r${index}`, { commit, size: index, timestamp: 5 });
  const data = encodeSummary({
    refs,
    metadata: [
      ['ostree.summary.collection-id', { type: 's', value: 'org.example.A' }],
      ['ostree.summary.indexed-deltas', { type: 'b', value: true }],
      [
        'ostree.static-deltas',
        { type: 'a{sv}', value: [[commit, { type: 'ay', value: checksumToBytes('cd'.repeat(32)) }]] },
      ],
      [
        'ostree.summary.collection-map',
        { type: 'a{sa(s(taya{sv}))}', value: [['org.example.B', [['x', [7n, checksumToBytes(commit), []]]]]] },
      ],
    ],
  });
  const use = (bytes: Buffer) => {
    const summary = new RemoteSummary(bytes, 'summary');
    return {
      all: [...summary.refs()],
      one: summary.find('refs/r7'),
      other: summary.find('x', 'org.example.B'),
      deltas: [...summary.deltasTo(commit)],
      flags: [summary.collection, summary.indexedDeltas, summary.hasDeltas, summary.mode, summary.tombstoneCommits],
    };
  };
  const good = use(data);
  assert.equal(good.all.length, 41);
  assert.deepEqual(good.one, { commit, size: 7 });
  assert.deepEqual(good.other, { commit, size: 7 });
  assert.deepEqual(good.deltas, [[null, 'cd'.repeat(32)]]);
  assert.deepEqual(good.flags, ['org.example.A', true, true, undefined, undefined]);
  fc.assert(
    fc.property(
      fc.array(fc.tuple(fc.nat(data.length - 1), fc.integer({ min: 1, max: 255 })), { maxLength: 4 }),
      fc.nat(20),
      (flips, cut) => {
        const bytes = Buffer.from(data.subarray(0, data.length - cut));
        for (const [at, mask] of flips) if (at < bytes.length) bytes[at]! ^= mask;
        try {
          use(bytes);
        } catch (error) {
          assert.equal((error as { code?: string }).code, 'corrupt', (error as Error).stack);
        }
      },
    ),
    { numRuns: 3000 },
  );
});

test('a commit that is larger or smaller than the summary promises, or another one, is refused', async (t) => {
  const { url, repo, lies, commit, theirs } = await liar(t);
  const size = readFileSync(objectPath(theirs, 'commit', commit)).length;
  const summary = (entry: Partial<SummaryRef>) =>
    encodeSummary({ refs: new Map([['main', { commit, size, timestamp: 1, ...entry }]]), metadata: [] });
  const path = `/objects/${loosePath(commit, 'commit')}`;
  lies.set('/summary', summary({ size: size - 1 }));
  await assert.rejects(pull(repo, { url, refs: ['main'] }), { code: 'corrupt', message: /exceeded maximum/ });
  lies.set('/summary', summary({}));
  lies.set(path, Buffer.alloc(20_000_000));
  await assert.rejects(pull(repo, { url, refs: ['main'] }), { code: 'corrupt', message: /exceeded maximum/ });
  const other = await commitOf(theirs, null, 'another');
  lies.set(path, readFileSync(objectPath(theirs, 'commit', other)));
  await assert.rejects(pull(repo, { url, refs: ['main'] }), { code: 'corrupt' });
  lies.set('/summary', summary({ commit: other, size: Number.MAX_SAFE_INTEGER }));
  await pull(repo, { url, refs: ['main'] });
  assert.equal(await readRef(repo, 'main'), other);
});

test('names and checksums of a remote are not taken for paths', async (t) => {
  const { url, repo, lies, commit, base } = await liar(t);
  const size = 1000;
  for (const name of ['../../escape', '/etc/passwd', 'a/../../b', 'a//b', '.hidden', 'nul\u0001']) {
    const entry = { commit, size, timestamp: 1 };
    lies.set('/summary', encodeSummary({ refs: new Map([[name, entry]]), metadata: [] }));
    await pull(repo, { url, mirror: true }).catch((error: { code: string }) => assert.equal(error.code, 'invalid'));
    assert.equal((await listRefs(repo)).size, 0, name);
  }
  assert.ok(!existsSync(join(base, 'escape')));
  for (const collection of ['../../up', 'org.example.A/../..', '']) {
    const metadata = [['ostree.summary.collection-id', { type: 's', value: collection }]] as const;
    lies.set('/summary', encodeSummary({ refs: new Map([['main', { commit, size, timestamp: 1 }]]), metadata }));
    await assert.rejects(pull(repo, { url, mirror: true }), { code: 'invalid' }, collection);
  }
});

test('commits that are each other’s parents end a history, where nobody hashes them', async (t) => {
  const { base, theirs, commit } = await liar(t);
  const [a, b] = ['aa'.repeat(32), 'bb'.repeat(32)];
  const { tree } = await readCommit(theirs, commit);
  for (const [name, parent] of [
    [a, b],
    [b, a],
  ] as const) {
    const path = objectPath(theirs, 'commit', name);
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, encodeCommit({ metadata: [], parent, subject: '', body: '', timestamp: 1, tree }));
  }
  const repo = await createRepo(join(base, 'trusting'));
  const stats = await pull(repo, { url: theirs.path, commits: [a], depth: -1, trusted: true });
  assert.equal(stats.metadataFetched, 4);
  const careful = await createRepo(join(base, 'careful'));
  await assert.rejects(pull(careful, { url: theirs.path, commits: [a], depth: -1 }), { code: 'corrupt' });
});

test('a mutated superblock is no more than a delta that is done without', async (t) => {
  const base = scratchFolder(t);
  const folder = join(base, 'folder');
  mkdirSync(folder);
  const path = join(base, 'theirs');
  ostree(`--repo=${path}`, 'init', '--mode=archive');
  const commits = ['one', 'two'].map((content) => {
    writeFileSync(join(folder, 'file'), content.repeat(100));
    return ostree(`--repo=${path}`, 'commit', '-b', 'main', '--canonical-permissions', folder);
  });
  const [first, second] = commits as [Checksum, Checksum];
  ostree(`--repo=${path}`, 'static-delta', 'generate', '--inline', `--from=${first}`, `--to=${second}`);
  ostree(`--repo=${path}`, 'config', 'set', 'core.indexed-deltas', 'false');
  rmSync(join(path, 'summary'), { force: true });
  const file = join(path, deltaFolder(first, second), 'superblock');
  const superblock = readFileSync(file);
  const url = await startServer(t, plainFiles(path));
  let count = 0;
  await fc.assert(
    fc.asyncProperty(
      fc.nat(superblock.length - 1),
      fc.integer({ min: 1, max: 255 }),
      fc.boolean(),
      async (at, mask, cut) => {
        const bytes = Buffer.from(cut ? superblock.subarray(0, at) : superblock);
        if (!cut) bytes[at]! ^= mask;
        writeFileSync(file, bytes);
        const repo = await createRepo(join(base, `ours-${count++}`), { mode: 'bare-user-only' });
        await pull(repo, { url, refs: [`main@${first}`], deltas: 'never' });
        await pull(repo, { url, refs: ['main'] });
        assert.equal(await readRef(repo, 'main'), second);
        const [object] = ostree(`--repo=${repo.path}`, 'cat', 'main', '/file').match(/^(two){100}$/) ?? [];
        assert.ok(object);
        rmSync(repo.path, { recursive: true });
      },
    ),
    { numRuns: 8 },
  );
});
