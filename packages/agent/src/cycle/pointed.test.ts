import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { promisify } from 'node:util';
import {
  copyClosure,
  createRepo,
  deleteCommit,
  openRepo,
  type RepositoryServer,
  serveRepository,
} from '@treeline/ostree';
import { createFixture, type Fixture } from '../testing/fixture.ts';
import { runOnce } from './agent.ts';
import { agentStatus } from './status.ts';

// A developer's repository is served over plain HTTP by the engine; the gateway has the released commits only.

const run = promisify(execFile);
const isRoot = process.getuid?.() === 0;
const check = (code: number) => ({
  'usr/lib/treeline/check/required.d/10-app': `#!/bin/sh\nread app < /usr/share/app\necho "$app"\nexit ${code}\n`,
});

let fixture: Fixture;
let served: RepositoryServer;
let mine = '';
before(async () => {
  fixture = await createFixture({ memory: true });
  mine = join(fixture.dir, 'mine');
  await createRepo(mine, { mode: 'archive' });
  served = await serveRepository(mine);
});
after(async () => {
  await served?.close();
  await fixture?.close();
});

/** A commit that only the developer's repository has, bound to a ref of his. */
async function commitMine(files: Record<string, string>): Promise<string> {
  const commit = await fixture.release(files, 'dev/me/robot');
  const shared = await openRepo(join(fixture.dir, 'repo'));
  await copyClosure(shared, await openRepo(mine), [commit], { trusted: true });
  await run('ostree', ['refs', `--repo=${shared.path}`, '--delete', 'dev/me/robot']);
  await deleteCommit(shared, commit);
  return commit;
}

const boards = [
  { kind: 'a virtual board', skip: false as const, newBoard: () => fixture.newBoard() },
  {
    kind: 'a libostree sysroot',
    skip: isRoot ? (false as const) : 'ostree admin needs root',
    newBoard: () =>
      fixture.newBoard((board) => ({ kind: 'ostree-sysroot', sysroot: join(board, 'root'), os: 'robot' })),
  },
];

for (const { kind, skip, newBoard } of boards) {
  test(`${kind} that is pointed at a developer's commit runs it, says where it is from, and comes back`, {
    skip,
  }, async (t) => {
    t.after(() => fixture.point(null));
    const board = await newBoard();
    const released = await fixture.release({ ...check(0), 'usr/share/app': `released for ${kind}\n` });
    fixture.offer(released);
    assert.deepEqual((await runOnce({ board })).state, { kind: 'good', release: released });

    const tweaked = await commitMine({ ...check(0), 'usr/share/app': `tweaked for ${kind}\n` });
    fixture.point({ commit: tweaked, url: served.url, ref: 'dev/me/robot' });
    const seen = fixture.states.length;
    const pointed = await runOnce({ board });
    assert.deepEqual(pointed.state, { kind: 'good', release: tweaked });
    assert.equal(pointed.booted, tweaked);
    assert.ok(pointed.transfer !== null && pointed.transfer.objects <= 10);
    const good = fixture.states.slice(seen).findLast((state) => state.state === 'good');
    assert.deepEqual(good, { state: 'good', release: tweaked, fetchedFrom: served.url });
    assert.deepEqual((await agentStatus(board)).pointed, { release: tweaked, url: served.url, ref: 'dev/me/robot' });
    assert.equal((await runOnce({ board })).transfer, null, 'it stays there without fetching anything');

    fixture.point(null);
    const back = await runOnce({ board });
    assert.deepEqual(back.state, { kind: 'good', release: released });
    assert.equal((await agentStatus(board)).pointed, null);
    const { details, ...last } = fixture.states.at(-1)!;
    assert.deepEqual(last, { state: 'good', release: released });
    // What it had is not fetched again. A virtual board says nothing of it beforehand.
    if (kind === 'a libostree sysroot') assert.deepEqual(details, { download: { objects: 0, bytes: 0, delta: false } });
  });

  test(`${kind} falls back from a developer's commit that fails its check, and does not take it again`, {
    skip,
  }, async (t) => {
    t.after(() => fixture.point(null));
    const board = await newBoard();
    const released = await fixture.release({ ...check(0), 'usr/share/app': `good for ${kind}\n` });
    fixture.offer(released);
    await runOnce({ board });
    const broken = await commitMine({ ...check(7), 'usr/share/app': `broken for ${kind}\n` });
    fixture.point({ commit: broken, url: served.url });
    const result = await runOnce({ board });
    assert.equal(result.booted, released);
    assert.deepEqual(result.state, {
      kind: 'rolled-back',
      from: broken,
      why: `health check 10-app failed with exit code 7:\nbroken for ${kind}`,
    });
    assert.equal((await runOnce({ board })).transfer, null);
  });

  test(`${kind} that cannot reach the developer waits with what it runs, and goes on when he is there`, {
    skip,
  }, async (t) => {
    t.after(() => fixture.point(null));
    const board = await newBoard();
    const released = await fixture.release({ ...check(0), 'usr/share/app': `steady for ${kind}\n` });
    fixture.offer(released);
    await runOnce({ board });
    const tweaked = await commitMine({ ...check(0), 'usr/share/app': `late for ${kind}\n` });
    fixture.point({ commit: tweaked, url: 'http://127.0.0.1:9' });
    const blocked = await runOnce({ board });
    assert.equal(blocked.state.kind, 'blocked');
    assert.equal(blocked.booted, released);
    fixture.point({ commit: tweaked, url: served.url });
    assert.deepEqual((await runOnce({ board })).state, { kind: 'good', release: tweaked });
  });
}

test('a repository that sends something else than the commit that the server named is not believed', async (t) => {
  t.after(() => fixture.point(null));
  const board = await fixture.newBoard();
  const released = await fixture.release({ ...check(0), 'usr/share/app': 'true\n' });
  fixture.offer(released);
  await runOnce({ board });
  const [real, other] = [
    await commitMine({ ...check(0), 'usr/share/app': 'real\n' }),
    await commitMine({ ...check(0), 'usr/share/app': 'other\n' }),
  ];
  const pathOf = (commit: string) => join(mine, 'objects', commit.slice(0, 2), `${commit.slice(2)}.commit`);
  await run('cp', ['--remove-destination', pathOf(other), pathOf(real)]);
  fixture.point({ commit: real, url: served.url });
  const result = await runOnce({ board });
  assert.equal(result.booted, released);
  assert.equal(result.state.kind, 'blocked');
});

test('an agent that was cut off while it fetched from a developer goes on there, not at the gateway', async (t) => {
  t.after(() => fixture.point(null));
  const board = await fixture.newBoard();
  const released = await fixture.release({ ...check(0), 'usr/share/app': 'before\n' });
  fixture.offer(released);
  await runOnce({ board });
  const tweaked = await commitMine({ ...check(0), 'usr/share/app': 'after\n' });
  fixture.point({ commit: tweaked, url: served.url });
  const cut = new RangeError('cut off here');
  const checkpoint = (step: string) => {
    if (step === 'pull') throw cut;
  };
  await assert.rejects(runOnce({ board, checkpoint }), cut);
  assert.deepEqual((await runOnce({ board })).state, { kind: 'good', release: tweaked });
});
