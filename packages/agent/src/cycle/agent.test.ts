import assert from 'node:assert/strict';
import { access, readdir, readFile, rm, symlink, unlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, beforeEach, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { lockBoard } from '../board/lock.ts';
import { createFixture, type Fixture } from '../testing/fixture.ts';
import { runAgent, runOnce } from './agent.ts';
import type { AgentProgress } from './cycle.ts';
import { agentStatus } from './status.ts';

let fixture: Fixture;
before(async () => {
  fixture = await createFixture({ memory: true });
});
after(() => fixture.close());
beforeEach(() => {
  fixture.states.length = 0;
  fixture.events.length = 0;
  fixture.broken = false;
  fixture.onObject = null;
});

const required = 'usr/lib/treeline/check/required.d';
const ok = { [`${required}/10-ok`]: '#!/bin/sh\nexit 0\n' };
const sick = { [`${required}/20-model`]: '#!/bin/sh\necho error 0.9 is above 0.1\nexit 4\n' };

async function deployments(board: string): Promise<string[]> {
  return (await readdir(join(board, 'sysroot/deploy'))).sort();
}

test('a board takes a release, fetches only what changed of the next, and says what it did', async () => {
  const board = await fixture.newBoard();
  const a = await fixture.release({ ...ok, 'usr/share/app': 'one' });
  fixture.offer(a);
  const first = await runOnce({ board });
  assert.deepEqual(first.state, { kind: 'good', release: a });
  assert.equal(first.booted, a);
  assert.equal(first.unsent, 0);

  const b = await fixture.release({ ...ok, 'usr/share/app': 'two' });
  fixture.offer(b);
  fixture.states.length = 0;
  fixture.events.length = 0;
  fixture.sent.bytes = 0;
  const seen: string[] = [];
  const second = await runOnce({
    board,
    onProgress: (progress: AgentProgress) => progress.kind === 'state' && seen.push(progress.state.kind),
  });
  assert.deepEqual(second.state, { kind: 'good', release: b });
  const { transfer } = second;
  assert.ok(transfer !== null);
  assert.ok(transfer.objects < (transfer.totalObjects ?? 0), `${transfer.objects} of ${transfer.totalObjects} objects`);
  assert.ok((transfer.totalBytes ?? 0) > transfer.bytes * 3, `${transfer.bytes} of ${transfer.totalBytes} bytes`);
  assert.ok(
    Math.abs(transfer.bytes - fixture.sent.bytes) < 1000,
    `${transfer.bytes}, server sent ${fixture.sent.bytes}`,
  );
  assert.deepEqual(seen, ['downloading', 'staged', 'rebooting', 'verifying', 'good']);
  assert.deepEqual(
    fixture.states.map((report) => report.state),
    ['good', 'downloading', 'staged', 'rebooting', 'verifying', 'good'],
  );
  assert.deepEqual(
    fixture.events.map((event) => (event.eventType as { id: string }).id),
    [
      'EcuDownloadStarted',
      'EcuDownloadCompleted',
      'EcuInstallationStarted',
      'EcuInstallationApplied',
      'EcuInstallationCompleted',
    ],
  );
  assert.equal(fixture.running(), b);
  assert.deepEqual(await deployments(board), [`${a}.0`, `${b}.0`].sort());

  const third = await runOnce({ board });
  assert.deepEqual(third.state, { kind: 'good', release: b });
  assert.equal(third.transfer, null);
});

test('a sick release is left by itself, with the reason, and not taken again', async () => {
  const board = await fixture.newBoard();
  const a = await fixture.release({ ...ok, 'usr/share/app': 'healthy' });
  fixture.offer(a);
  await runOnce({ board });
  const bad = await fixture.release(sick);
  fixture.offer(bad);
  fixture.states.length = 0;
  fixture.events.length = 0;
  const result = await runOnce({ board });
  assert.equal(result.state.kind, 'rolled-back');
  assert.equal(result.booted, a);
  const told = fixture.states.at(-1);
  assert.equal(told?.state, 'rolled-back');
  assert.equal(told?.from, bad);
  assert.equal(told?.reason, 'health check 20-model failed with exit code 4:\nerror 0.9 is above 0.1');
  const last = fixture.events.at(-1)?.event as { success: boolean; details: string };
  assert.deepEqual([last.success, last.details], [false, told?.reason]);

  const again = await runOnce({ board });
  assert.equal(again.transfer, null);
  assert.equal(again.state.kind, 'rolled-back');
  assert.deepEqual(await deployments(board), [`${a}.0`]);
  const status = await agentStatus(board);
  assert.deepEqual(
    status.bad.map((item) => item.release),
    [bad],
  );
  assert.equal(status.running?.commit, a);

  const c = await fixture.release({ ...ok, 'usr/share/app': 'repaired' });
  fixture.offer(c);
  assert.deepEqual((await runOnce({ board })).state, { kind: 'good', release: c });
});

test('a first release that is sick stays, as there is nothing to go back to', async () => {
  const board = await fixture.newBoard();
  const bad = await fixture.release(sick);
  fixture.offer(bad);
  const result = await runOnce({ board });
  assert.equal(result.state.kind, 'failed');
  assert.equal(result.booted, bad);
  const good = await fixture.release({ ...ok, 'usr/share/app': 'after a bad start' });
  fixture.offer(good);
  assert.deepEqual((await runOnce({ board })).state, { kind: 'good', release: good });
});

test('what was changed in /etc is carried over, what is in /var stays', async () => {
  const board = await fixture.newBoard();
  const etc = (files: Record<string, string>) =>
    Object.fromEntries(Object.entries(files).map(([name, text]) => [`usr/etc/${name}`, text]));
  const a = await fixture.release({
    ...ok,
    ...etc({ kept: '1', changed: '1', 'd/removed': '1', 'd/other': '1', link: 'x' }),
  });
  fixture.offer(a);
  await runOnce({ board });
  const in_ = (commit: string, path: string) => join(board, 'sysroot/deploy', `${commit}.0`, 'etc', path);
  await writeFile(in_(a, 'changed'), 'mine');
  await writeFile(in_(a, 'added'), 'mine');
  await rm(in_(a, 'd/removed'));
  await unlink(in_(a, 'link'));
  await symlink('changed', in_(a, 'link'));
  await writeFile(join(board, 'sysroot/var/data'), 'measured');
  const b = await fixture.release({
    ...ok,
    ...etc({ kept: '2', changed: '2', 'd/removed': '2', 'd/other': '2', link: 'y', fresh: '2' }),
  });
  fixture.offer(b);
  await runOnce({ board });
  const read = (path: string) => readFile(in_(b, path), 'utf8');
  assert.deepEqual(
    [await read('kept'), await read('changed'), await read('added'), await read('fresh'), await read('d/other')],
    ['2', 'mine', 'mine', '2', '2'],
  );
  assert.equal(await read('link'), 'mine', 'the link leads to the changed file');
  await assert.rejects(access(in_(b, 'd/removed')));
  assert.equal(await readFile(join(board, 'sysroot/var/data'), 'utf8'), 'measured');
});

test('a server that is away is no reason to stop; what was to be said is said later, once', async () => {
  const board = await fixture.newBoard();
  const a = await fixture.release({ ...ok, 'usr/share/app': 'offline' });
  fixture.offer(a);
  await runOnce({ board });
  const b = await fixture.release({ ...ok, 'usr/share/app': 'offline 2' });
  fixture.offer(b);
  fixture.states.length = 0;
  fixture.events.length = 0;
  // Gone as soon as everything is fetched.
  await runOnce({
    board,
    onProgress: (progress) => {
      if (progress.kind === 'transfer') fixture.broken = true;
    },
  }).then((result) => {
    assert.deepEqual(result.state, { kind: 'good', release: b });
    assert.ok(result.unsent > 0);
  });
  const away = await runOnce({ board });
  assert.match(away.serverError ?? '', /status 503/);
  fixture.broken = false;
  assert.equal((await runOnce({ board })).unsent, 0);
  const types = fixture.events.map((event) => (event.eventType as { id: string }).id);
  assert.equal(types.filter((type) => type === 'EcuInstallationCompleted').length, 1);
  assert.equal(new Set(fixture.events.map((event) => event.id)).size, fixture.events.length);
  assert.equal(fixture.states.at(-1)?.state, 'good');
});

test('a connection that breaks in the middle blocks the update; the next look goes on with it', async () => {
  const board = await fixture.newBoard();
  const a = await fixture.release({ ...ok, 'usr/share/app': 'broken off' });
  fixture.offer(a);
  let objects = 0;
  fixture.onObject = (path) => {
    if (path.includes('.filez') && ++objects > 3) throw new Error('cut');
  };
  const result = await runOnce({ board });
  assert.equal(result.state.kind, 'blocked');
  assert.equal(fixture.states.at(-1)?.state, 'blocked');
  fixture.onObject = null;
  assert.deepEqual((await runOnce({ board })).state, { kind: 'good', release: a });
});

test('a release that is no system is refused as such, and the board stays as it is', async () => {
  const board = await fixture.newBoard();
  const a = await fixture.release({ ...ok, 'usr/share/app': 'before junk' });
  fixture.offer(a);
  await runOnce({ board });
  const both = await fixture.release({ ...ok, 'etc/hostname': 'x' });
  fixture.offer(both);
  const result = await runOnce({ board });
  assert.deepEqual(result.state, { kind: 'failed', release: both, why: 'the release has both /etc and /usr/etc' });
  assert.equal(result.booted, a);
  assert.equal((await runOnce({ board })).booted, a);
});

test('a deployment that does not come up: the boot loader goes back, the agent understands', async () => {
  const board = await fixture.newBoard();
  const a = await fixture.release({ ...ok, 'usr/share/app': 'up' });
  fixture.offer(a);
  await runOnce({ board });
  const b = await fixture.release({ ...ok, 'usr/share/app': 'panics' });
  fixture.offer(b);
  const result = await runOnce({
    board,
    async checkpoint(step) {
      // As a kernel that panics: the tree cannot come up.
      if (step === 'reboot: off')
        await rm(join(board, 'sysroot/deploy', `${b}.0`, 'usr'), { recursive: true, force: true });
    },
  });
  assert.equal(result.state.kind, 'rolled-back');
  assert.equal(result.booted, a);
  assert.match(String(fixture.states.at(-1)?.reason), /boot loader/);
});

test('a board that loses power three times before it proves good falls back', async () => {
  const board = await fixture.newBoard();
  const a = await fixture.release({ ...ok, 'usr/share/app': 'power' });
  fixture.offer(a);
  await runOnce({ board });
  const b = await fixture.release({ ...ok, 'usr/share/app': 'power 2' });
  fixture.offer(b);
  for (let i = 0; i < 3; i++) {
    await assert.rejects(
      runOnce({
        board,
        checkpoint(step) {
          if (step === 'verify') throw new Error('power cut');
        },
      }),
      /power cut/,
    );
    assert.equal((await agentStatus(board)).running?.commit, b);
    await rm(join(board, 'sysroot/run'), { recursive: true });
  }
  const result = await runOnce({ board });
  assert.equal(result.state.kind, 'rolled-back');
  assert.equal(result.booted, a);
});

test('a board that an operator lets follow another channel asks for that one, now and after a restart', async (t) => {
  const board = await fixture.newBoard();
  t.after(() => fixture.follow('robot/edge'));
  const a = await fixture.release({ ...ok, 'usr/share/app': 'other channel' }, 'robot/stable');
  fixture.offer(a);
  fixture.follow('robot/stable');
  const result = await runOnce({ board });
  assert.deepEqual([result.state, result.serverError], [{ kind: 'good', release: a }, null]);
  assert.equal((await agentStatus(board)).identity.channel, 'robot/stable');
  const requests = fixture.requests;
  await runOnce({ board });
  assert.equal(
    fixture.requests - requests,
    3,
    'the inventory, the state and the ref: it is not asked anew what to follow',
  );
});

test('a 404 that does not say that nothing is there is told as an error', async (t) => {
  const board = await fixture.newBoard();
  t.after(() => {
    fixture.absence = 'not-found';
  });
  fixture.offer(null);
  assert.equal((await runOnce({ board })).serverError, null);
  fixture.absence = 'no-such-place';
  assert.match((await runOnce({ board })).serverError ?? '', /what to run from robot\/edge: no-such-place/);
});

test('a bad release that is offered again is warned of; forgiven by the server, it is taken', async () => {
  const board = await fixture.newBoard();
  const a = await fixture.release({ ...ok, 'usr/share/app': 'before the sick one' });
  fixture.offer(a);
  await runOnce({ board });
  const check = `#!/bin/sh\ntest -e /var/mended\n`;
  const b = await fixture.release({ [`${required}/20-disk`]: check });
  fixture.offer(b);
  assert.equal((await runOnce({ board })).state.kind, 'rolled-back');
  const warnings: string[] = [];
  const onProgress = (progress: AgentProgress) => {
    if (progress.kind === 'warning') warnings.push(progress.message);
  };
  assert.equal((await runOnce({ board, onProgress })).state.kind, 'rolled-back');
  assert.match(warnings.join(), new RegExp(`${b} is offered, but was bad on this board: health check 20-disk`));
  await writeFile(join(board, 'sysroot/var/mended'), '');
  fixture.bad.delete(b);
  assert.deepEqual((await runOnce({ board })).state, { kind: 'good', release: b });
  assert.deepEqual((await agentStatus(board)).bad, []);
  assert.ok(!fixture.bad.has(b), 'it was not called bad again');
});

test('a repository that lost or damaged an object of a commit that counts as whole heals by itself', async () => {
  const board = await fixture.newBoard();
  const a = await fixture.release({ ...ok, 'usr/share/app': 'whole' });
  fixture.offer(a);
  await runOnce({ board });
  const b = await fixture.release({ ...ok, 'usr/share/app': 'shares nearly everything' });
  fixture.offer(b);
  const objects = join(board, 'sysroot/repo/objects');
  const find = async (type: string) =>
    (await readdir(objects, { recursive: true })).filter((name) => name.endsWith(type));
  await assert.rejects(
    runOnce({
      board,
      async checkpoint(step) {
        if (step !== 'stage') return;
        for (const name of await find('.filez')) await rm(join(objects, name));
        throw new Error('cut off');
      },
    }),
    /cut off/,
  );
  assert.deepEqual((await runOnce({ board })).state, { kind: 'good', release: b });

  const c = await fixture.release({ ...ok, 'usr/share/app': 'third' });
  fixture.offer(c);
  const result = await runOnce({
    board,
    async checkpoint(step) {
      if (step !== 'stage') return;
      const [metadata = ''] = await find('.dirtree');
      await writeFile(join(objects, metadata), 'rot');
    },
  });
  assert.deepEqual(result.state, { kind: 'good', release: c });
});

test('a clean-up of the repository that is cut off leaves no commit without content, and is gone on with', async () => {
  const board = await fixture.newBoard();
  const objects = join(board, 'sysroot/repo/objects');
  const offer = async (text: string) => {
    const commit = await fixture.release({ ...ok, 'usr/share/app': text });
    fixture.offer(commit);
    return commit;
  };
  const there = (commit: string) =>
    access(join(objects, commit.slice(0, 2), `${commit.slice(2)}.commit`)).then(
      () => true,
      () => false,
    );
  const first = await offer('pruned');
  await runOnce({ board });
  await offer('second');
  await runOnce({ board });
  await offer('third');
  const checkpoint = (step: string) => {
    if (step === 'prune: contents') throw new Error('cut off');
  };
  await assert.rejects(runOnce({ board, checkpoint }), /cut off/);
  assert.equal(await there(first), false);
  const count = async () => (await readdir(objects, { recursive: true })).length;
  const before = await count();
  await runOnce({ board });
  assert.ok((await count()) < before, 'what was left is removed');
  fixture.offer(first);
  assert.deepEqual((await runOnce({ board })).state, { kind: 'good', release: first });
});

test('one agent at a time works on a board', async () => {
  const board = await fixture.newBoard();
  const lock = await lockBoard(join(board, 'agent'));
  await assert.rejects(runOnce({ board }), { code: 'busy' });
  await lock.release();
  await runOnce({ board });
});

test('the loop takes what comes, and ends when told to', async () => {
  const board = await fixture.newBoard();
  fixture.offer(null);
  const stop = new AbortController();
  const loop = runAgent({ board, pollSeconds: 0.1, signal: stop.signal });
  const a = await fixture.release({ ...ok, 'usr/share/app': 'looped' });
  fixture.offer(a);
  for (let i = 0; i < 2000 && (await agentStatus(board)).state.kind !== 'good'; i++) await sleep(50);
  stop.abort();
  await loop;
  assert.deepEqual((await agentStatus(board)).state, { kind: 'good', release: a });
});

test('a state file that the disk lost is set aside, and the board goes on', async () => {
  const board = await fixture.newBoard();
  const a = await fixture.release({ ...ok, 'usr/share/app': 'lost' });
  fixture.offer(a);
  await runOnce({ board });
  await writeFile(join(board, 'agent/state.json'), '{"version":1,"machine":');
  const result = await runOnce({ board });
  assert.equal(result.booted, a);
  assert.ok((await readdir(join(board, 'agent'))).some((name) => name.startsWith('state.unreadable-')));
});
