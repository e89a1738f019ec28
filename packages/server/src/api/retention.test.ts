import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { test } from 'node:test';
import { openRepo, withTransaction, writeCommit } from '@treeline/ostree';
import { storeFiles } from '../testing/runner.ts';
import { startTestServer, type TestServer } from '../testing/server.ts';
import type { DiskUseAnswer, Pin, PrunedRepository, Release } from './schema.ts';

/** A server with three releases of a channel, of which two are kept. */
async function setUp(t: Parameters<typeof startTestServer>[0]): Promise<{ server: TestServer; commits: string[] }> {
  const server = await startTestServer(t, { retentionSeconds: 3600 });
  const retention = { releases: 2, grace: 0 };
  assert.equal((await server.call('PATCH', '/repositories/public', { retention })).status, 200);
  const store = await openRepo(join(server.dataDir, 'store'));
  const commits: string[] = [];
  for (const version of ['1', '2', '3']) {
    const tree = await storeFiles(server.dataDir, { 'a/version': version, 'b/same': 'x'.repeat(500) });
    commits.push(await withTransaction(store, (tx) => writeCommit(tx, { tree, subject: version })));
    await server.post('/publish', { commit: commits.at(-1), channel: 'robot/edge' });
  }
  return { server, commits };
}

test('prune says what stays, why and what went; a dry run only says so', async (t) => {
  const { server, commits } = await setUp(t);
  const [first, second, third] = commits as [string, string, string];
  const dry = await server.post<PrunedRepository>('/repositories/public/prune', { dryRun: true });
  assert.deepEqual(
    dry.commits.map(({ commit, state, reasons }) => [commit, state, reasons]),
    [
      [third, 'kept', ['robot/edge has it now (release 3)']],
      [second, 'kept', ['release 2 of robot/edge is one of its newest 2']],
      [first, 'dropped', []],
    ],
  );
  assert.deepEqual([dry.kept, dry.freed.objects, dry.waiting!.objects > 0], [{ current: 1, recent: 1 }, 0, true]);
  const done = await server.post<PrunedRepository>('/repositories/public/prune');
  assert.deepEqual(done.freed, { ...dry.waiting!, deltaBytes: done.freed.deltaBytes });
  assert.deepEqual(
    done.commits.map(({ commit, state }) => [commit, state]),
    [
      [third, 'kept'],
      [second, 'kept'],
      [first, 'gone'],
    ],
  );
  assert.deepEqual(done.commits[2]!.releases, [{ repository: 'public', channel: 'robot/edge', number: 1 }]);
  const again = await server.post<PrunedRepository>('/repositories/public/prune', {});
  assert.deepEqual([again.commits.length, again.freed.objects], [2, 0]);
  execFileSync('ostree', [`--repo=${server.dataDir}/repos/public`, 'fsck'], { stdio: 'ignore' });
  // The store keeps what repositories have, and the rest for a grace period.
  const store = await server.post<PrunedRepository>('/store/prune', {});
  assert.deepEqual(
    [store.repository, store.commits.map(({ commit, state }) => [commit, state]), store.kept.release],
    [null, [[first, 'dropped']], 2],
  );
});

test('a pin keeps a commit until it is taken back', async (t) => {
  const { server, commits } = await setUp(t);
  const first = commits[0]!;
  const pin = await server.post<Pin>('/pins', {
    commit: first.slice(0, 12),
    repository: 'public',
    reason: 'certified',
  });
  assert.deepEqual([pin.commit, pin.repository, pin.by, pin.reason], [first, 'public', 'admin', 'certified']);
  assert.deepEqual(pin.releases, [{ repository: 'public', channel: 'robot/edge', number: 1 }]);
  await server.post('/pins', { commit: first, repository: 'public', reason: 'certified until 2030' });
  const { pins } = await server.get<{ pins: Pin[] }>('/pins?repository=public');
  assert.deepEqual(
    pins.map(({ reason }) => reason),
    ['certified until 2030'],
  );
  const listed = async () => (await server.get<{ releases: Release[] }>('/releases')).releases;
  assert.deepEqual(
    (await listed()).map(({ pinned }) => pinned),
    [null, null, { by: 'admin', reason: 'certified until 2030' }],
  );
  const kept = await server.post<PrunedRepository>('/repositories/public/prune', {});
  assert.deepEqual(
    kept.commits.map(({ state }) => state),
    ['kept', 'kept', 'kept'],
  );
  assert.equal((await server.call('DELETE', `/pins/${first}`)).status, 404); // it is pinned in `public` alone
  assert.equal((await server.call('DELETE', `/pins/${first}?repository=public`)).status, 204);
  assert.equal((await server.call('DELETE', `/pins/${first}?repository=public`)).status, 404);
  assert.equal((await server.call('PATCH', '/repositories/public', { retention: { grace: 1 } })).status, 200);
  await server.post('/repositories/public/prune', {});
  assert.deepEqual(
    (await listed()).map(({ pinned, droppedAt }) => [pinned, droppedAt === null]),
    [
      [null, true],
      [null, true],
      [null, false],
    ],
  );
  assert.equal((await server.call('PATCH', '/repositories/public', { retention: { grace: 0 } })).status, 200);
  const gone = await server.post<PrunedRepository>('/repositories/public/prune', {});
  assert.equal(gone.commits.at(-1)!.state, 'gone');
  for (const [body, status] of [
    [{ commit: first, repository: 'public' }, 404],
    [{ commit: 'f'.repeat(64) }, 404],
    [{ commit: 'no-such/thing' }, 404],
    [{ commit: commits[2], repository: 'nope' }, 404],
    [{ commit: commits[2], repository: '../x' }, 400],
    [{ commit: commits[2], reason: '' }, 400],
    [{ commit: commits[2], extra: 1 }, 400],
  ] as const) {
    assert.equal((await server.call('POST', '/pins', body)).status, status, JSON.stringify(body));
  }
  // Everywhere: the store has it still.
  const everywhere = await server.post<Pin>('/pins', { commit: first });
  assert.deepEqual([everywhere.repository, everywhere.reason], [null, 'by hand']);
  for (const [path, status] of [
    ['/repositories/nope/prune', 404],
    ['/repositories/..%2fx/prune', 400],
  ] as const) {
    assert.equal((await server.call('POST', path, {})).status, status, path);
  }
  assert.equal((await server.call('POST', '/repositories/public/prune', { dryRun: 'yes' })).status, 400);
});

test('disk use is told of repositories, refs and releases, each file once', async (t) => {
  const { server, commits } = await setUp(t);
  const all = await server.get<DiskUseAnswer>('/disk-use');
  assert.deepEqual(
    all.repositories.map(({ repository }) => repository),
    [null, 'public'],
  );
  const [store, published] = all.repositories as [DiskUseAnswer['repositories'][0], DiskUseAnswer['repositories'][0]];
  const files = (path: string) =>
    execFileSync('find', [join(server.dataDir, path), '!', '-type', 'd', '-printf', '%s %i\\n'], { encoding: 'utf8' })
      .trim()
      .split('\n')
      .map((line) => line.split(' ').map(Number) as [number, number]);
  const sum = (list: readonly [number, number][]) => list.reduce((total, [size]) => total + size, 0);
  assert.equal(store.bytes, sum(files('store')));
  assert.equal(published.bytes, sum(files('repos/public')));
  const once = new Map([...files('store'), ...files('repos/public')].map(([size, inode]) => [inode, size]));
  assert.equal(
    all.bytes,
    [...once.values()].reduce((total, size) => total + size, 0),
  );
  assert.ok(published.counted.bytes > 0);

  const one = await server.get<DiskUseAnswer>('/disk-use?repository=public&channel=robot/edge');
  const [{ releases }] = one.repositories[0]!.refs as [DiskUseAnswer['repositories'][0]['refs'][0]];
  assert.deepEqual(
    releases.map(({ commit, numbers, current, dropped }) => [commit, numbers, current, dropped]),
    [
      [commits[2], [3], true, false],
      [commits[1], [2], false, false],
      [commits[0], [1], false, false],
    ],
  );
  for (const { total, exclusive, shared } of releases) {
    assert.equal(total.objects, exclusive.objects + shared.objects);
    assert.ok(exclusive.objects > 0 && shared.objects > 0);
  }
  assert.equal(one.repositories[0]!.unreferenced.objects, 0);
  for (const [path, status] of [
    ['/disk-use?repository=nope', 404],
    ['/disk-use?repository=public&channel=nope', 404],
    ['/disk-use?channel=robot/edge', 400],
    ['/disk-use?repository=../x', 400],
  ] as const) {
    assert.equal((await server.call('GET', path)).status, status, path);
  }
});
