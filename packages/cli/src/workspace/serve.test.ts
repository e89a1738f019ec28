import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, request } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { createRepo, type Repo, readCommit, setRef, withTransaction, writeCommit } from '@treeline/ostree';
import { treeline } from '../testing/command.ts';
import { developer } from '../testing/developer.ts';
import { addressTowards, Peers } from './peers.ts';
import { type ServedOptions, servedRefs } from './served-refs.ts';

const header = { uid: 0, gid: 0, mode: 0o100644, symlinkTarget: '', xattrs: [] };

/** A commit of one file, on a ref. */
async function commitFile(
  repo: Repo,
  ref: string,
  text: string,
): Promise<{ commit: string; file: string; tree: string }> {
  return withTransaction(repo, async (tx) => {
    const { checksum } = await tx.writeFile(header, Buffer.from(text));
    const contents = tx.writeDirTree({ files: new Map([['file', checksum]]), dirs: new Map() });
    const commit = await writeCommit(tx, { tree: { contents, meta: tx.emptyTree().meta } });
    tx.setRef(ref, commit);
    return { commit, file: checksum, tree: contents };
  });
}

const object = (checksum: string, type: string) => `/objects/${checksum.slice(0, 2)}/${checksum.slice(2)}.${type}`;

async function served(t: TestContext, options: Partial<ServedOptions> = {}) {
  const folder = mkdtempSync(join(tmpdir(), 'treeline-cli-'));
  t.after(() => rmSync(folder, { recursive: true }));
  const repo = await createRepo(join(folder, 'repo'), { mode: 'archive' });
  const mine = await commitFile(repo, 'dev/ana/robot', 'mine');
  const secret = await commitFile(repo, 'base/0123', 'somebody else’s, restricted');
  const other = await commitFile(repo, 'dev/ana/other', 'another of mine');
  const peers: string[] = [];
  const handle = await servedRefs(repo, {
    refs: ['dev/ana/robot'],
    allows: () => true,
    onPeer: (address, allowed) => peers.push(`${address} ${allowed}`),
    ...options,
  });
  const server = createServer(handle);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.after(() => server.close());
  const { port } = server.address() as AddressInfo;
  const ask = (path: string, method = 'GET') =>
    new Promise<number>((resolve, reject) => {
      // Not fetch, which tidies paths up.
      request({ host: '127.0.0.1', port, path, method, agent: false }, (answer) => {
        answer.resume();
        resolve(answer.statusCode ?? 0);
      })
        .on('error', reject)
        .end();
    });
  return { repo, mine, secret, other, ask, peers };
}

test('a served ref is there with all that it needs, and nothing else of the repository is', async (t) => {
  const { mine, secret, other, ask, repo } = await served(t);
  const { tree } = await readCommit(repo, mine.commit);
  for (const path of [
    '/config',
    '/refs/heads/dev/ana/robot',
    object(mine.commit, 'commit'),
    object(mine.tree, 'dirtree'),
    object(tree.meta, 'dirmeta'),
    object(mine.file, 'filez'),
  ]) {
    assert.equal(await ask(path), 200, path);
    assert.equal(await ask(path, 'HEAD'), 200, path);
    assert.equal(await ask(path, 'PUT'), 405, path);
  }
  for (const path of [
    '/',
    '/summary',
    '/refs/heads/base/0123',
    '/refs/heads/dev/ana/other',
    '/refs/heads/dev/ana',
    '/refs/heads/dev/ana/../../base/0123',
    '/refs/heads/%2e%2e/x',
    ...[secret, other].flatMap(({ commit, file, tree: folder }) => [
      object(commit, 'commit'),
      object(file, 'filez'),
      object(folder, 'dirtree'),
    ]),
    object(secret.file, 'filez').toUpperCase(),
    `/./${object(secret.file, 'filez')}`,
    `${object(secret.file, 'filez')}?x`,
    `/objects/../${object(secret.file, 'filez').slice(1)}`,
    '/state/x',
    '/tmp/x',
    '/.lock',
  ]) {
    assert.equal(await ask(path), 404, path);
  }
});

test('a ref that moves meanwhile is served as it is then, and what it was stays for who is fetching it', async (t) => {
  const { repo, mine, ask } = await served(t);
  const next = await commitFile(repo, 'dev/ana/robot', 'next');
  assert.equal(await ask(object(next.file, 'filez')), 200);
  assert.equal(await ask('/refs/heads/dev/ana/robot'), 200);
  assert.equal(await ask(object(mine.file, 'filez')), 200);
  await setRef(repo, 'dev/ana/robot', null);
  assert.equal(await ask('/refs/heads/dev/ana/robot'), 404);
});

test('without a name all dev/ refs are served, those of workspaces are not', async (t) => {
  const { secret, other, ask } = await served(t, { refs: null });
  assert.equal(await ask('/refs/heads/dev/ana/other'), 200);
  assert.equal(await ask(object(other.file, 'filez')), 200);
  assert.equal(await ask('/refs/heads/base/0123'), 404);
  assert.equal(await ask(object(secret.commit, 'commit')), 404);
});

test('who was not named gets nothing, not even an answer that tells what there is', async (t) => {
  const { mine, ask, peers } = await served(t, { allows: () => false });
  for (const path of ['/config', '/refs/heads/dev/ana/robot', object(mine.commit, 'commit'), '/nothing']) {
    assert.equal(await ask(path), 403, path);
  }
  assert.deepEqual(peers, ['127.0.0.1 false'], 'it is told once');
});

test('addresses and networks are let in as they were named, this machine always', async () => {
  const peers = new Peers();
  for (const own of ['127.0.0.1', '127.1.2.3', '::1']) assert.ok(peers.allows(own), own);
  for (const other of ['192.0.2.7', '2001:db8::7', '', 'x', '10.0.0.1']) assert.ok(!peers.allows(other), other);
  for (const text of ['192.0.2.7', '198.51.100.0/24', '2001:db8::/32']) peers.allow(text);
  for (const named of ['192.0.2.7', '198.51.100.255', '2001:db8::7']) assert.ok(peers.allows(named), named);
  for (const other of ['192.0.2.8', '198.51.101.1', '2001:db9::1']) assert.ok(!peers.allows(other), other);
  for (const wrong of [
    'robot',
    '192.0.2',
    '192.0.2.7/33',
    '192.0.2.7/',
    '192.0.2.7/8/8',
    '::/129',
    '192.0.2.7:80',
    '',
  ]) {
    assert.throws(() => peers.allow(wrong), { code: 'usage' }, wrong);
  }
  assert.equal(await addressTowards('127.0.0.1'), '127.0.0.1');
  assert.equal(await addressTowards('nowhere'), null);
});

test('`serve` prints what to say on the other side, ends by itself or with ^C, and needs something to serve', async (t) => {
  const dev = await developer(t);
  assert.equal((await dev.run(['serve'])).code, 5);
  const work = await dev.checkout('robot');
  const early = await dev.run(['serve', work]);
  assert.equal(early.code, 5);
  assert.match(early.stderr, /Nothing was committed in .*robot yet[\s\S]*treeline commit/);
  writeFileSync(join(work, 'usr/etc/speed'), 'fast\n');
  const { ref, commit } = await dev.json<{ ref: string; commit: string }>('commit', work);

  const ended = await dev.run(['serve', '--listen', ':0', '--for', '1s'], { cwd: work });
  assert.deepEqual([ended.code, ended.stderr], [0, '']);
  assert.match(ended.stdout, /^Serving to this machine until (?:\S+ )?\d\d:\d\d; Ctrl-C ends it\.$/m);
  assert.match(
    ended.stdout,
    new RegExp(`^ {2}treeline device point ID --at http://127\\.0\\.0\\.1:\\d+ --ref ${ref}$`, 'm'),
  );

  const { promise: up, resolve } = Promise.withResolvers<string>();
  let kill: (signal: NodeJS.Signals) => void = () => {};
  const going = dev.run(['serve', ref, '--listen', '127.0.0.1:0', '--allow', '192.0.2.0/24'], {
    started: (stop) => {
      kill = stop;
    },
    onOutput: (stdout) => {
      if (stdout.includes('ostree pull mine')) resolve(stdout);
    },
  });
  const said = await up;
  assert.match(said, /^Serving to this machine, 192\.0\.2\.0\/24; Ctrl-C ends it\.$/m);
  const [add, pull] = ['ostree remote add', 'ostree pull'].map(
    (start) => said.split('\n').find((line) => line.trim().startsWith(start))!,
  );
  const stock = join(dev.folder, 'stock');
  execFileSync('ostree', [`--repo=${stock}`, 'init', '--mode=archive']);
  for (const line of [add, pull])
    execFileSync('sh', ['-c', line!], { env: { ...process.env, OSTREE_REPO: stock }, stdio: 'pipe' });
  assert.equal(readFileSync(join(stock, 'refs/remotes/mine', ref), 'utf8').trim(), commit);

  const url = /--at (\S+)/.exec(said)![1]!;
  const busy = await dev.run(['serve', ref, '--listen', new URL(url).host]);
  assert.equal(busy.code, 6);
  kill('SIGINT');
  assert.equal((await going).code, 0);
  for (const listen of ['robot', '1.2.3.4:x', '1.2.3.4:99999']) {
    assert.equal((await dev.run(['serve', ref, '--listen', listen])).code, 2, listen);
  }
  assert.equal((await treeline(['serve', 'no/such/ref'], { env: dev.env })).code, 5);
});
