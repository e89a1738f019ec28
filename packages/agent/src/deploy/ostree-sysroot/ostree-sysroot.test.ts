import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { access, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { promisify } from 'node:util';
import { runOnce } from '../../cycle/agent.ts';
import { agentStatus } from '../../cycle/status.ts';
import { createFixture, type Fixture } from '../../testing/fixture.ts';
import { parseStatus } from './status.ts';

const run = promisify(execFile);
const skip = process.getuid?.() === 0 ? false : 'ostree admin needs root';
const cutOff = new RangeError('cut off here');

let fixture: Fixture;
before(async () => {
  if (skip === false) fixture = await createFixture({ memory: true });
});
after(() => fixture?.close());

const newBoard = () =>
  fixture.newBoard((board) => ({ kind: 'ostree-sysroot', sysroot: join(board, 'root'), os: 'robot' }));
const check = (code: number) => ({
  'usr/lib/treeline/check/required.d/10-model': `#!/bin/sh\necho model says ${code}\nexit ${code}\n`,
});

/** What libostree itself says: deployments in boot order, each whole, and loader entries that name them. */
async function assertSysroot(board: string, commits: readonly string[], when: string): Promise<void> {
  const sysroot = join(board, 'root');
  const { stdout } = await run('ostree', ['admin', 'status', `--sysroot=${sysroot}`]);
  const deployments = parseStatus(stdout);
  assert.deepEqual(
    deployments.map((deployment) => deployment.commit),
    commits,
    when,
  );
  await assertBootable(board, when);
}

async function assertBootable(board: string, when: string): Promise<void> {
  const sysroot = join(board, 'root');
  const entries = await readdir(join(sysroot, 'boot/loader/entries'));
  assert.ok(entries.length > 0, `${when}: a loader entry`);
  for (const entry of entries) {
    const text = await readFile(join(sysroot, 'boot/loader/entries', entry), 'utf8');
    const kernel = /^linux (\S+)$/m.exec(text)?.[1] ?? '';
    const root = /ostree=(\S+)/.exec(text)?.[1] ?? '';
    await access(join(sysroot, 'boot', kernel));
    await access(join(sysroot, root, 'usr/lib/os-release'));
    await access(join(sysroot, root, 'etc/hostname'));
  }
}

test('on a libostree sysroot: install, update, fall back, update again, with the real tool', { skip }, async () => {
  const board = await newBoard();
  const a = await fixture.release({ ...check(0), 'usr/share/app': 'a' });
  fixture.offer(a);
  assert.deepEqual((await runOnce({ board })).state, { kind: 'good', release: a });
  await assertSysroot(board, [a], 'installed');
  await writeFile(join(board, `root/ostree/deploy/robot/deploy/${a}.0/etc/local`), 'mine');

  const b = await fixture.release({ ...check(0), 'usr/share/app': 'b' });
  fixture.offer(b);
  const updated = await runOnce({ board });
  assert.deepEqual(updated.state, { kind: 'good', release: b });
  assert.ok(updated.transfer !== null && updated.transfer.objects > 0 && updated.transfer.bytes > 0);
  assert.ok(updated.transfer.objects <= 6, `${updated.transfer.objects} objects for one file and the folders above`);
  await assertSysroot(board, [b, a], 'updated');
  assert.equal(await readFile(join(board, `root/ostree/deploy/robot/deploy/${b}.0/etc/local`), 'utf8'), 'mine');

  const c = await fixture.release({ ...check(3), 'usr/share/app': 'c' });
  fixture.offer(c);
  const back = await runOnce({ board });
  assert.deepEqual(back.state, {
    kind: 'rolled-back',
    from: c,
    why: 'health check 10-model failed with exit code 3:\nmodel says 3',
  });
  assert.equal(back.booted, b);
  await assertSysroot(board, [b], 'fallen back');
  assert.equal((await runOnce({ board })).transfer, null);

  const d = await fixture.release({ ...check(0), 'usr/share/app': 'd' });
  fixture.offer(d);
  assert.deepEqual((await runOnce({ board })).state, { kind: 'good', release: d });
  await assertSysroot(board, [d, b], 'repaired');
  await run('ostree', ['fsck', `--repo=${join(board, 'root/ostree/repo')}`]);
  assert.equal((await agentStatus(board)).running?.commit, d);
});

test('cut off before each step on a libostree sysroot, it can be booted and goes on', { skip }, async () => {
  const board = await newBoard();
  const first = await fixture.release({ ...check(0), 'usr/share/app': 'first' });
  fixture.offer(first);
  await runOnce({ board });
  let before = first;
  for (let index = 0; ; index++) {
    const bad = index % 2 === 1;
    const release = await fixture.release({ ...check(bad ? 1 : 0), 'usr/share/app': `cut ${index}` });
    fixture.offer(release);
    let count = 0;
    let cut = '';
    await runOnce({
      board,
      checkpoint: (step) => {
        // Every third step, in turns of good and bad releases: that is many already with the real tool.
        if (count++ !== index * 3) return;
        cut = step;
        throw cutOff;
      },
    }).catch((error: unknown) => assert.equal(error, cutOff));
    if (cut === '') break;
    await assertBootable(board, `cut before ${cut}`);
    if (index % 3 === 0) await rm(join(board, 'agent/booted.json'), { force: true });
    const result = await runOnce({ board });
    assert.equal(result.booted, bad ? before : release, `cut before ${cut}`);
    assert.equal(result.state.kind, bad ? 'rolled-back' : 'good', `cut before ${cut}`);
    if (!bad) before = release;
  }
});

test('a tree without a kernel is refused before anything is deployed', { skip }, async () => {
  const board = await newBoard();
  const a = await fixture.release({ ...check(0), 'usr/share/app': 'with kernel' });
  fixture.offer(a);
  await runOnce({ board });
  const tree = join(fixture.dir, 'no-kernel/usr/bin');
  await run('mkdir', ['-p', tree]);
  const { stdout } = await run('ostree', [
    ...['commit', `--repo=${join(fixture.dir, 'repo')}`, '-b', 'robot/edge'],
    `--tree=dir=${join(fixture.dir, 'no-kernel')}`,
  ]);
  fixture.offer(stdout.trim());
  const result = await runOnce({ board });
  assert.equal(result.state.kind, 'failed');
  assert.match(result.state.kind === 'failed' ? result.state.why : '', /no kernel/);
  await assertSysroot(board, [a], 'refused');
});

test('the output of ostree admin status is read as libostree prints it', () => {
  const a = 'a'.repeat(64);
  const b = 'b'.repeat(64);
  const text = `  debian ${a}.1 (staged)\n    Version: 12\n    origin refspec: x:y\n* debian ${b}.0\n    Pinned: yes\n  debian ${a}.0 (rollback) (pinned)\n`;
  assert.deepEqual(
    parseStatus(text).map((d) => [d.index, d.booted, d.staged, d.pinned, d.commit, d.serial]),
    [
      [0, false, true, false, a, 1],
      [1, true, false, true, b, 0],
      [2, false, false, true, a, 0],
    ],
  );
  assert.deepEqual(parseStatus('No deployments.\n'), []);
});
