import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import type { ServerResponse } from 'node:http';
import { createServer as createSecureServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { deflateRawSync } from 'node:zlib';
import fc from 'fast-check';
import { writeCommit } from '../commit/write-commit.ts';
import type { OstreeError } from '../errors.ts';
import { encodeFilezHeader } from '../formats/file.ts';
import { loosePath } from '../formats/object-name.ts';
import { fsck } from '../fsck/fsck.ts';
import { readCommit, readDirTree } from '../repo/objects.ts';
import { listRefs } from '../repo/refs.ts';
import { createRepo, type Repo } from '../repo/repo.ts';
import { plainFileHeader, withTransaction } from '../repo/transaction.ts';
import { repositoryHandler } from '../serve/handler.ts';
import { plainFiles, startServer } from '../testing/http.ts';
import { noise } from '../testing/sample-repo.ts';
import { ostree, scratchFolder } from '../testing/scratch.ts';
import { pull } from './pull.ts';

/** A small repository, a server of it that can be made to lie about some paths, and an empty repository. */
async function liar(t: TestContext, large = noise(2_500_000)) {
  const base = scratchFolder(t);
  const theirs = await createRepo(join(base, 'theirs'));
  const commit = await withTransaction(theirs, async (tx) => {
    const files = new Map<string, string>();
    for (const [name, content] of [
      ['small', Buffer.from('small file\n')],
      ['large', large],
    ] as const) {
      files.set(name, (await tx.writeFile(plainFileHeader(), content)).checksum);
    }
    const contents = tx.writeDirTree({ files, dirs: new Map() });
    const made = await writeCommit(tx, { tree: { contents, meta: tx.emptyTree().meta }, timestamp: 1 });
    tx.setRef('main', made);
    return made;
  });
  const { tree } = await readCommit(theirs, commit);
  const { files } = await readDirTree(theirs, tree.contents);
  const paths = {
    commit: `/objects/${loosePath(commit, 'commit')}`,
    dirtree: `/objects/${loosePath(tree.contents, 'dirtree')}`,
    dirmeta: `/objects/${loosePath(tree.meta, 'dirmeta')}`,
    small: `/objects/${loosePath(files.get('small')!, 'filez')}`,
    large: `/objects/${loosePath(files.get('large')!, 'filez')}`,
  };
  const lies = new Map<string, (res: ServerResponse) => void>();
  const honest = plainFiles(theirs.path);
  const url = await startServer(t, (req, res, path) => {
    const lie = lies.get(path);
    return lie ? lie(res) : honest(req, res, path);
  });
  const repo = await createRepo(join(base, 'ours'));
  const bytes = (path: string) => readFileSync(join(theirs.path, path));
  return { base, theirs, url, repo, lies, paths, bytes };
}

function send(data: Buffer): (res: ServerResponse) => void {
  return (res) => void res.writeHead(200, { 'content-length': data.length }).end(data);
}

/** Nothing of the failed pull is visible, and nothing lies around. */
async function assertClean(repo: Repo): Promise<void> {
  const report = await fsck(repo);
  assert.deepEqual([report.damaged, report.commits, report.danglingRefs.size], [[], 0, 0]);
  assert.equal((await listRefs(repo)).size, 0);
  const left = readdirSync(join(repo.path, 'tmp')).filter((name) => name !== 'cache' && name !== 'treeline-partial');
  assert.deepEqual(left, []);
  const partial = join(repo.path, 'tmp/treeline-partial');
  if (existsSync(partial)) assert.deepEqual(readdirSync(partial), []);
  ostree(`--repo=${repo.path}`, 'fsck');
}

for (const kind of ['commit', 'dirtree', 'dirmeta', 'small', 'large'] as const) {
  test(`a ${kind} with one bit changed is refused by name, and the store stays clean`, async (t) => {
    const { url, repo, lies, paths, bytes } = await liar(t);
    const data = bytes(paths[kind]);
    const [, , folder, file] = paths[kind].split('/');
    const object = `${folder}${file}`;
    // Not the last byte: deflate need not use all of its bits.
    for (const at of [0, 9, Math.floor(data.length / 2), data.length - 2]) {
      const mutated = Buffer.from(data);
      mutated[at]! ^= 0x10;
      lies.set(paths[kind], send(mutated));
      await assert.rejects(pull(repo, { url, refs: ['main'] }), (error: OstreeError) => {
        assert.equal(error.code, 'corrupt');
        assert.equal(error.object, object);
        assert.equal(typeof error.offset, 'number');
        assert.ok(error.message.includes(object));
        return true;
      });
      await assertClean(repo);
    }
    lies.clear();
    await pull(repo, { url, refs: ['main'] });
    assert.deepEqual((await fsck(repo)).damaged, []);
  });
}

test('whatever becomes of an object on its way, it is stored as it was or not at all', async (t) => {
  const { base, url, lies, paths, bytes } = await liar(t);
  let repo = await createRepo(join(base, 'ours'));
  let round = 0;
  const mutation = fc.record({
    kind: fc.constantFrom('commit' as const, 'dirtree' as const, 'dirmeta' as const, 'small' as const),
    cut: fc.nat(400),
    at: fc.nat(400),
    insert: fc.uint8Array({ maxLength: 12 }),
    remove: fc.nat(12),
  });
  await fc.assert(
    fc.asyncProperty(mutation, async ({ kind, cut, at, insert, remove }) => {
      const data = bytes(paths[kind]);
      const start = at % (data.length + 1);
      const whole = Buffer.concat([data.subarray(0, start), insert, data.subarray(start + remove)]);
      const mutated = cut < 100 ? whole.subarray(0, whole.length - (cut % (whole.length + 1))) : whole;
      if (mutated.equals(data)) return;
      lies.clear();
      lies.set(paths[kind], send(mutated));
      try {
        await pull(repo, { url, refs: ['main'] });
      } catch (error) {
        assert.equal((error as OstreeError).code, 'corrupt');
        return;
      }
      // One content can be compressed in many ways: then it is the same object still.
      assert.equal(kind, 'small');
      assert.deepEqual((await fsck(repo)).damaged, []);
      repo = await createRepo(join(base, `ours-${round++}`));
    }),
    { numRuns: 60 },
  );
  await assertClean(repo);
});

test('a web page in place of a file of the repository is recognised', async (t) => {
  const { url, repo, lies, paths } = await liar(t);
  const page = send(Buffer.from('<!DOCTYPE html><html><body>Please log in</body></html>'));
  for (const [path, code] of [
    ['/config', 'network'],
    ['/summary', 'corrupt'],
    ['/refs/heads/main', 'network'],
    [paths.commit, 'corrupt'],
    [paths.dirtree, 'corrupt'],
    [paths.small, 'corrupt'],
  ] as const) {
    lies.clear();
    lies.set(path, page);
    await assert.rejects(pull(repo, { url, refs: ['main'] }), { code }, path);
  }
  await assertClean(repo);
});

test('bodies without end are cut off', async (t) => {
  const { url, repo, lies, paths, bytes } = await liar(t);
  const endless = (start: Buffer) => (res: ServerResponse) => {
    res.writeHead(200);
    res.write(start);
    const chunk = Buffer.alloc(1 << 20);
    const more = () => {
      while (!res.destroyed && res.write(chunk));
    };
    res.on('drain', more);
    more();
  };
  for (const path of ['/config', '/refs/heads/main', paths.commit, paths.small, paths.large]) {
    lies.clear();
    lies.set(path, endless(path.startsWith('/objects') ? bytes(path) : Buffer.from('x')));
    await assert.rejects(pull(repo, { url, refs: ['main'] }), { code: 'corrupt' }, path);
  }
  lies.clear();
  // An announced length is refused before a byte of it is read.
  lies.set(paths.dirtree, (res) => void res.writeHead(200, { 'content-length': 1e12 }).write('x'));
  await assert.rejects(pull(repo, { url, refs: ['main'] }), { code: 'corrupt', message: /1000000000000 bytes/ });
  await assertClean(repo);
});

test('a small object that unpacks to very much is checked without holding it', async (t) => {
  const zeros = Buffer.alloc(100_000_000);
  const { url, repo, theirs, paths } = await liar(t, zeros);
  assert.ok(readFileSync(join(theirs.path, paths.large)).length < 200_000);
  const before = process.memoryUsage().arrayBuffers;
  await pull(repo, { url, refs: ['main'] });
  assert.ok(process.memoryUsage().arrayBuffers - before < 50_000_000);
  assert.deepEqual((await fsck(repo)).damaged, []);
});

test('a file that says it is shorter than it is, is refused', async (t) => {
  const { url, repo, lies, paths } = await liar(t);
  const header = plainFileHeader();
  const bomb = Buffer.concat([encodeFilezHeader(header, 10), deflateRawSync(Buffer.alloc(50_000_000))]);
  lies.set(paths.small, send(bomb));
  await assert.rejects(pull(repo, { url, refs: ['main'] }), { code: 'corrupt', offset: bomb.readUInt32BE(0) + 8 });
  await assertClean(repo);
});

test('what fails for a moment is tried again, what fails for good is not', async (t) => {
  const { base, url, repo, lies, paths } = await liar(t);
  let failures = 2;
  let asked = 0;
  const heal = (status: number) => (res: ServerResponse) => {
    asked++;
    if (--failures <= 0) lies.clear();
    if (status === 0) res.destroy();
    else res.writeHead(status).end();
  };
  for (const status of [503, 429, 0]) {
    failures = 2;
    lies.set(paths.dirtree, heal(status));
    await pull(await createRepo(join(base, `into-${status}`)), { url, refs: ['main'] });
  }
  asked = 0;
  failures = 99;
  lies.set('/refs/heads/main', heal(401));
  await assert.rejects(pull(repo, { url, refs: ['main'] }), { code: 'network', message: /401/ });
  assert.equal(asked, 1);
  lies.clear();
  lies.set('/refs/heads/main', (res) => void res.writeHead(404).end());
  await assert.rejects(pull(repo, { url, refs: ['main'] }), { code: 'not-found', message: /no ref main/ });
});

test('a connection that stalls is given up', async (t) => {
  const { url, repo, lies, paths } = await liar(t);
  const stalls: Record<string, (res: ServerResponse) => void> = {
    silent: () => {},
    halfway: (res) => void res.writeHead(200, { 'content-length': 100 }).write('x'),
    dripping: (res) => {
      res.writeHead(200, { 'content-length': 100_000 });
      const drip = setInterval(() => res.write('x'), 20);
      res.on('close', () => clearInterval(drip));
    },
  };
  for (const [name, stall] of Object.entries(stalls)) {
    lies.set(paths.dirtree, stall);
    const stalled = pull(repo, { url, refs: ['main'], stallSeconds: 0.3, retries: 0 });
    await assert.rejects(stalled, { code: 'network', message: /stalled/ }, name);
  }
  await assertClean(repo);
});

test('redirects are followed a few times, without headers meant for the remote', async (t) => {
  const { theirs, repo } = await liar(t);
  const seen: (string | undefined)[] = [];
  const files = plainFiles(theirs.path);
  const target = await startServer(t, (req, res, path) => {
    seen.push(req.headers['x-secret'] as string | undefined);
    return files(req, res, path);
  });
  const to = (location: (path: string) => string) =>
    startServer(t, (_req, res, path) => void res.writeHead(302, { location: location(path) }).end());
  const mirror = await to((path) => target + path);
  await pull(repo, { url: mirror, refs: ['main'], headers: { 'x-secret': 'x' } });
  assert.ok(seen.length > 5 && seen.every((value) => value === undefined));
  const circle = await to((path) => path);
  await assert.rejects(pull(repo, { url: circle, refs: ['main'] }), { code: 'network', message: /redirects/ });
  const elsewhere = await to(() => 'file:///etc/passwd');
  await assert.rejects(pull(repo, { url: elsewhere, refs: ['main'] }), {
    code: 'network',
    message: /redirects to file:/,
  });
  await pull(repo, { url: target, refs: ['main'], headers: { 'x-secret': 'x' } });
  assert.equal(seen.at(-1), 'x');
});

test('an object that the remote lost is named', async (t) => {
  const { url, repo, lies, paths } = await liar(t);
  for (const kind of ['commit', 'dirtree', 'dirmeta', 'small', 'large'] as const) {
    lies.clear();
    lies.set(paths[kind], (res) => void res.writeHead(404).end());
    const [, , folder, file] = paths[kind].split('/');
    await assert.rejects(pull(repo, { url, refs: ['main'] }), { code: 'not-found', object: `${folder}${file}` });
  }
  await assertClean(repo);
});

test('what cannot be a remote is refused before anything is asked', async (t) => {
  const repo = await createRepo(join(scratchFolder(t), 'ours'));
  await assert.rejects(pull(repo, { url: 'ftp://host/repo', refs: ['main'] }), { code: 'unsupported' });
  await assert.rejects(pull(repo, { url: 'http://', refs: ['main'] }), { code: 'invalid' });
  await assert.rejects(pull(repo, { url: 'http://127.0.0.1:1', refs: ['../x'] }), { code: 'invalid' });
  await assert.rejects(pull(repo, { url: 'http://127.0.0.1:1', commits: ['abc'] }), { code: 'invalid' });
  await assert.rejects(pull(repo, { url: 'http://127.0.0.1:1', refs: ['main'], retries: 0 }), { code: 'network' });
  await assert.rejects(pull(repo, { url: join(repo.path, 'none'), refs: ['main'] }), { code: 'not-found' });
});

test('with TLS both sides show who they are', async (t) => {
  const { base, theirs, repo } = await liar(t);
  const openssl = (...args: string[]) => execFileSync('openssl', args, { cwd: base, stdio: 'pipe' });
  const curve = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes'];
  openssl('req', '-x509', ...curve, '-keyout', 'ca.key', '-out', 'ca.pem', '-subj', '/CN=test CA', '-days', '2');
  for (const name of ['server', 'client']) {
    const subject = ['-subj', `/CN=${name}`, '-addext', 'subjectAltName=IP:127.0.0.1'];
    const signed = ['-CA', 'ca.pem', '-CAkey', 'ca.key', '-days', '2'];
    openssl('req', '-x509', ...curve, '-keyout', `${name}.key`, '-out', `${name}.pem`, ...subject, ...signed);
  }
  const read = (name: string) => readFileSync(join(base, name));
  const [ca, key, cert] = [read('ca.pem'), read('server.key'), read('server.pem')];
  const handler = repositoryHandler(theirs.path);
  const options = { ca, key, cert, requestCert: true, rejectUnauthorized: true };
  const server = createSecureServer(options, (req, res) => void handler(req, res, req.url!));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  const url = `https://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const client = { key: read('client.key'), cert: read('client.pem') };
  await assert.rejects(pull(repo, { url, refs: ['main'], tls: client }), {
    code: 'network',
    message: /certificate is not trusted/,
    hint: /tls-ca-path .* tls\.ca/,
  });
  await assert.rejects(pull(repo, { url, refs: ['main'], tls: { ca }, retries: 0 }), { code: 'network' });
  await pull(repo, { url, refs: ['main'], tls: { ca, ...client } });
  assert.deepEqual((await fsck(repo)).damaged, []);
});

test('https to a port where plain HTTP is spoken is called that', async (t) => {
  const { url, repo } = await liar(t);
  await assert.rejects(pull(repo, { url: url.replace('http:', 'https:'), refs: ['main'] }), {
    code: 'network',
    message: /does not speak TLS on this port$/,
    hint: /http:\/\//,
  });
});
