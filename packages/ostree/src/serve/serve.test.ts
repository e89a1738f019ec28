import assert from 'node:assert/strict';
import { mkdirSync, readdirSync, readFileSync, readlinkSync, symlinkSync, writeFileSync } from 'node:fs';
import { type IncomingHttpHeaders, request } from 'node:http';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import fc from 'fast-check';
import { writeCommit } from '../commit/write-commit.ts';
import { createRepo } from '../repo/repo.ts';
import { plainFileHeader, withTransaction } from '../repo/transaction.ts';
import { ostree, ostreeMeanwhile, scratchFolder } from '../testing/scratch.ts';
import { servedName } from './names.ts';
import { serveRepository } from './server.ts';

interface Answer {
  status: number;
  headers: IncomingHttpHeaders;
  body: Buffer;
}

async function served(t: TestContext) {
  const base = scratchFolder(t);
  const repo = await createRepo(join(base, 'repo'));
  const large = Buffer.alloc(2_000_000, 'incompressible? no matter');
  for (let index = 0; index < large.length; index += 4) large.writeUInt32LE((index * 2654435761) >>> 0, index);
  const file = await withTransaction(repo, async (tx) => {
    const stored = await tx.writeFile(plainFileHeader(), large);
    const contents = tx.writeDirTree({ files: new Map([['large', stored.checksum]]), dirs: new Map() });
    tx.setRef('robot/edge', await writeCommit(tx, { tree: { contents, meta: tx.emptyTree().meta } }));
    return stored.checksum;
  });
  const server = await serveRepository(repo.path);
  t.after(() => server.close());
  const ask = (path: string, headers: Record<string, string> = {}, method = 'GET') =>
    new Promise<Answer>((resolve, reject) => {
      const { hostname, port } = new URL(server.url);
      // As options: a URL object would put the path in order before it is sent.
      const sent = request({ hostname, port, path, method, headers }, (res) => {
        const chunks: Buffer[] = [];
        res.on('data', (chunk: Buffer) => chunks.push(chunk));
        res.on('end', () => resolve({ status: res.statusCode!, headers: res.headers, body: Buffer.concat(chunks) }));
        res.on('error', reject);
      });
      sent.on('error', reject).end();
    });
  const object = `/objects/${file.slice(0, 2)}/${file.slice(2)}.filez`;
  return { base, repo, server, ask, object };
}

test('a stock client pulls from it', async (t) => {
  const { base, server } = await served(t);
  const local = join(base, 'local');
  ostree(`--repo=${local}`, 'init', '--mode=archive');
  ostree(`--repo=${local}`, 'remote', 'add', '--no-gpg-verify', 'origin', server.url);
  await ostreeMeanwhile(`--repo=${local}`, 'pull', 'origin', 'robot/edge');
  ostree(`--repo=${local}`, 'fsck');
  assert.match(ostree(`--repo=${local}`, 'ls', 'origin:robot/edge'), /2000000 \/large/);
});

test('objects may be kept for ever, everything else is asked for again', async (t) => {
  const { repo, ask, object } = await served(t);
  const answer = await ask(object);
  assert.equal(answer.status, 200);
  assert.deepEqual(answer.body, readFileSync(join(repo.path, object)));
  assert.match(answer.headers['cache-control']!, /immutable/);
  assert.match(answer.headers.etag!, /^"[0-9a-f]{64}-\w+"$/);
  const ref = await ask('/refs/heads/robot/edge');
  assert.match(ref.body.toString(), /^[0-9a-f]{64}\n$/);
  assert.equal(ref.headers['cache-control'], 'no-cache');
  assert.equal((await ask('/config')).status, 200);
});

test('what not everybody may read is for no cache that several people share', async (t) => {
  const { repo, object } = await served(t);
  const server = await serveRepository(repo.path, { private: true });
  t.after(() => server.close());
  for (const [path, control] of [
    [object, 'private, max-age=31536000, immutable'],
    ['/refs/heads/robot/edge', 'private, no-cache'],
    ['/config', 'private, no-cache'],
    ['/refs/heads/none', 'no-store'],
  ] as const) {
    const answer = await fetch(`${server.url}${path}`);
    assert.equal(answer.headers.get('cache-control'), control, path);
    await answer.arrayBuffer();
  }
});

test('a client that has the version already is told so', async (t) => {
  const { repo, ask, object } = await served(t);
  for (const path of [object, '/refs/heads/robot/edge']) {
    const { headers } = await ask(path);
    for (const condition of [headers.etag!, `"other", W/${headers.etag}`, '*']) {
      const again = await ask(path, { 'if-none-match': condition });
      assert.equal(again.status, 304);
      assert.equal(again.body.length, 0);
    }
    assert.equal((await ask(path, { 'if-modified-since': headers['last-modified']! })).status, 304);
    assert.equal((await ask(path, { 'if-none-match': '"other"' })).status, 200);
  }
  const before = (await ask('/refs/heads/robot/edge')).headers.etag!;
  await withTransaction(repo, async (tx) => {
    tx.setRef('robot/edge', await writeCommit(tx, { tree: tx.emptyTree(), subject: 'next' }));
  });
  assert.equal((await ask('/refs/heads/robot/edge', { 'if-none-match': before })).status, 200);
});

test('a part of a file is sent if it is the same file still', async (t) => {
  const { repo, ask, object } = await served(t);
  const whole = readFileSync(join(repo.path, object));
  const { headers } = await ask(object);
  const etag = headers.etag!;
  const cases: [range: string, extra: Record<string, string>, status: number, body: Buffer | null][] = [
    ['bytes=10-19', {}, 206, whole.subarray(10, 20)],
    ['bytes=1000000-', { 'if-range': etag }, 206, whole.subarray(1_000_000)],
    ['bytes=-5', {}, 206, whole.subarray(-5)],
    ['bytes=5-99999999999', {}, 206, whole.subarray(5)],
    ['bytes=10-19', { 'if-range': '"other"' }, 200, whole],
    ['bytes=0-1,5-6', {}, 200, whole],
    ['bytes=9-3', {}, 200, whole],
    ['lines=1-2', {}, 200, whole],
    [`bytes=${whole.length}-`, {}, 416, null],
    ['bytes=-0', {}, 416, null],
  ];
  for (const [range, extra, status, body] of cases) {
    const answer = await ask(object, { range, ...extra });
    assert.equal(answer.status, status, range);
    if (body) assert.ok(answer.body.equals(body), range);
    else assert.equal(answer.headers['content-range'], `bytes */${whole.length}`);
  }
});

test('HEAD says what GET would, and other methods are refused', async (t) => {
  const { ask, object } = await served(t);
  const head = await ask(object, {}, 'HEAD');
  const get = await ask(object);
  assert.equal(head.body.length, 0);
  assert.equal(head.headers['content-length'], String(get.body.length));
  const post = await ask(object, {}, 'POST');
  assert.equal(post.status, 405);
  assert.equal(post.headers.allow, 'GET, HEAD');
});

test('nothing but what a repository holds is served', async (t) => {
  const { base, repo, ask, object } = await served(t);
  writeFileSync(join(base, 'secret'), 'secret');
  mkdirSync(join(repo.path, 'tmp/cache'), { recursive: true });
  writeFileSync(join(repo.path, 'tmp/cache/summary'), 'x');
  writeFileSync(join(repo.path, 'state/x'), 'x');
  symlinkSync(join(base, 'secret'), join(repo.path, 'refs/heads/escape'));
  symlinkSync(join(base, 'secret'), join(repo.path, 'summary'));
  symlinkSync(base, join(repo.path, 'refs/heads/folder'));
  symlinkSync('robot/edge', join(repo.path, 'refs/heads/alias'));
  assert.equal((await ask('/refs/heads/alias')).status, 200);
  const none = [
    '/',
    '/tmp/cache/summary',
    '/state/x',
    '/.lock',
    '/extensions/x',
    '/objects',
    '/refs/heads',
    '/summary',
  ];
  const escapes = ['/../secret', '/objects/../../secret', '/refs/heads/../../config', '/refs/heads/escape'];
  const hidden = [
    '/refs/heads/folder/secret',
    '/refs/heads/.x',
    '//config',
    '/config/',
    `${object}x`,
    object.toUpperCase(),
  ];
  for (const path of [...none, ...escapes, ...hidden, '/refs/heads/nothing', object.replace(/..\.filez/, '__.filez')]) {
    const answer = await ask(path);
    assert.equal(answer.status, 404, path);
    assert.match(answer.headers['content-type']!, /^text\/plain/);
  }
  for (const path of [
    '/%2e%2e/secret',
    '/refs%2fheads/robot/edge',
    '/config%00',
    '/%zz',
    `/${'a'.repeat(3000)}`,
    '/..%5csecret',
  ]) {
    assert.equal((await ask(path)).status, 400, path);
  }
});

test('a plus in the name of a delta may come as it is or encoded', async (t) => {
  const { repo, ask } = await served(t);
  const name = `a+/${'b'.repeat(40)}+-${'c_'.repeat(21)}c`;
  mkdirSync(join(repo.path, 'deltas', name), { recursive: true });
  writeFileSync(join(repo.path, 'deltas', name, 'superblock'), 'delta');
  for (const path of [name, name.replaceAll('+', '%2B'), name.replaceAll('+', '%2b')]) {
    const answer = await ask(`/deltas/${path}/superblock`);
    assert.equal(answer.body.toString(), 'delta');
    assert.match(answer.headers['cache-control']!, /immutable/);
  }
  assert.equal((await ask(`/deltas/${name}/other`)).status, 404);
});

test('clients that go away in the middle leave no file open', { skip: process.platform !== 'linux' }, async (t) => {
  const { server, repo, object } = await served(t);
  const { hostname, port } = new URL(server.url);
  for (let round = 0; round < 20; round++) {
    await new Promise<void>((resolve) => {
      const sent = request({ hostname, port, path: object }, (res) => {
        res.once('data', () => {
          sent.destroy();
          resolve();
        });
        res.on('error', () => {});
      });
      sent.on('error', () => {});
      sent.end();
    });
  }
  const openObjects = () =>
    readdirSync('/proc/self/fd').filter((fd) => {
      try {
        return readlinkSync(`/proc/self/fd/${fd}`).startsWith(join(repo.path, 'objects'));
      } catch {
        return false;
      }
    }).length;
  for (let wait = 0; wait < 1000 && openObjects() > 0; wait++) await sleep(20);
  assert.equal(openObjects(), 0);
});

test('no path, however strange, names a file outside the repository', () => {
  const piece = fc.oneof(
    fc.constantFrom('..', '.', '', 'objects', 'refs', 'heads', 'config', 'summary', '%2e%2e', '%2f', '\\', '\0', 'ab'),
    fc.string({ maxLength: 8 }),
  );
  fc.assert(
    fc.property(fc.array(piece, { maxLength: 6 }), (pieces) => {
      const name = servedName(`/${pieces.join('/')}`);
      if (name === null || name === 'malformed') return;
      const parts = name.path.split('/');
      assert.ok(parts.every((part) => part !== '' && !part.startsWith('.') && !part.includes('\0')));
      assert.match(parts[0]!, /^(?:config|summary|summary\.sig|objects|refs|deltas|delta-indexes)$/);
    }),
    { numRuns: 2000 },
  );
});
