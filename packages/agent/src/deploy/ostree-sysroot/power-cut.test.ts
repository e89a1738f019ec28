import assert from 'node:assert/strict';
import { execFile, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { access, readdir, readFile, readlink, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { runOnce } from '../../cycle/agent.ts';
import { createTestDisk, type TestDisk } from '../../testing/disk.ts';
import { createFixture, type Fixture } from '../../testing/fixture.ts';

const run = promisify(execFile);
/** Moments of an update, a fall back and another update at which power is lost. */
const POINTS = Number(process.env.TREELINE_CUT_POINTS ?? 110);
/** Moments of one update that are kept: at most these, at least half of them when there are so many. */
const MOST_OF_ONE = 150;
const OS = 'robot';
const needs = async (): Promise<string | false> => {
  if (process.getuid?.() !== 0) return 'mounting needs root';
  const kinds = await readFile('/proc/filesystems', 'utf8').catch(() => '');
  if (
    !/\bxfs\b/.test(kinds) &&
    (await run('modprobe', ['xfs']).then(
      () => false,
      () => true,
    ))
  )
    return 'no xfs here';
  return access('/dev/loop-control').then(
    () => false as const,
    () => 'no loop devices here',
  );
};
const skip = await needs();

let fixture: Fixture;
let disk: TestDisk;
before(async () => {
  if (skip !== false) return;
  fixture = await createFixture({ memory: true });
  disk = await createTestDisk({ megabytes: 160, copies: 4 * MOST_OF_ONE });
});
after(async () => {
  await disk?.close();
  await fixture?.close();
});

const check = (code: number) => ({
  'usr/lib/treeline/check/required.d/10-model': `#!/bin/sh\nexit ${code}\n`,
  'usr/lib/treeline/boot.json': JSON.stringify({ version: 1, loader: 'grub', esp: 'PARTLABEL=esp' }),
});

/** Names, kinds and content of all that is below a folder. */
async function digestOf(folder: string): Promise<string> {
  const hash = createHash('sha256');
  const walk = async (path: string, name: string): Promise<void> => {
    for (const entry of (await readdir(path, { withFileTypes: true })).sort((a, b) => (a.name < b.name ? -1 : 1))) {
      const inside = join(path, entry.name);
      hash.update(`\0${name}/${entry.name}\0`);
      if (entry.isDirectory()) await walk(inside, `${name}/${entry.name}`);
      else hash.update(entry.isSymbolicLink() ? await readlink(inside) : await readFile(inside));
    }
  };
  await walk(folder, '');
  return hash.digest('hex');
}

/**
 * What a boot loader would do now works: each entry's kernel is there, and its deployment is whole to the last byte.
 * Returns the commit that comes first.
 */
async function assertBootable(sysroot: string, trees: ReadonlyMap<string, string>, when: string): Promise<string> {
  const folder = join(sysroot, 'boot/loader/entries');
  const booted: { commit: string; version: number }[] = [];
  for (const entry of await readdir(folder)) {
    const text = await readFile(join(folder, entry), 'utf8');
    await access(join(sysroot, 'boot', /^linux (\S+)$/m.exec(text)?.[1] ?? ''));
    await access(join(sysroot, 'boot', /^initrd (\S+)$/m.exec(text)?.[1] ?? ''));
    const root = join(sysroot, /ostree=(\S+)/.exec(text)?.[1] ?? '');
    const commit = /([0-9a-f]{64})\.\d+$/.exec(await readlink(root))?.[1] ?? '';
    assert.equal(await digestOf(join(root, 'usr')), trees.get(commit), `${when}: ${entry} boots a whole tree`);
    assert.equal(await readFile(join(root, 'etc/hostname'), 'utf8'), 'robot\n', `${when}: ${entry} has its /etc`);
    booted.push({ commit, version: Number(/^version (\d+)$/m.exec(text)?.[1]) });
  }
  assert.ok(booted.length > 0, `${when}: a loader entry`);
  return booted.sort((one, other) => other.version - one.version)[0]!.commit;
}

/** A release, and what its tree is to be. */
async function releaseOf(trees: Map<string, string>, text: string, code: number): Promise<string> {
  const commit = await fixture.release({ ...check(code), 'usr/share/app': text, 'usr/lib/modules/6.1/vmlinuz': text });
  const folder = join(fixture.dir, `tree-of-${commit}`);
  await run('ostree', ['checkout', '-U', `--repo=${join(fixture.dir, 'repo')}`, '--subpath=/usr', commit, folder]);
  trees.set(commit, await digestOf(folder));
  await rm(folder, { recursive: true, force: true });
  return commit;
}

/** Moves a board's identity to where its disk is mounted now, and takes away what lives in memory. */
async function wakeUp(board: string): Promise<void> {
  const path = join(board, 'agent/identity.json');
  const identity = JSON.parse(await readFile(path, 'utf8')) as { deployer: { sysroot: string } };
  identity.deployer.sysroot = join(board, 'root');
  await writeFile(path, JSON.stringify(identity));
  await rm(join(board, 'agent/booted.json'), { force: true });
}

test(`power lost at ${POINTS} moments of updates on ext4: always bootable, and at last on the new release`, {
  skip,
}, async (t) => {
  const trees = new Map<string, string>();
  const board = join(disk.folder, 'board');
  const { enrol } = await import('../../board/enrol.ts');
  const sysroot = join(board, 'root');
  await enrol({
    ...{ board, gateway: fixture.url, token: fixture.token, id: 'robot-cut' },
    deployer: { kind: 'ostree-sysroot', sysroot, os: OS },
  });
  const release = (text: string, code: number) => releaseOf(trees, text, code);
  const [a, b, c] = [await release('a', 0), await release('b', 0), await release('c', 1)];
  const [e, d] = [await release('e', 0), await release('d', 0)];
  fixture.offer(a);
  assert.equal((await runOnce({ board })).state.kind, 'good');
  await run('sync', ['-f', disk.folder]);

  // An update, one that falls back, another update: all the while the disk is copied as it is.
  const module = new URL('../../cycle/agent.ts', import.meta.url).href;
  const program = `await (await import('${module}')).runOnce({ board: process.argv[1] });`;
  const copies: number[] = [];
  for (const offer of [b, c, e, d]) {
    fixture.offer(offer);
    const child = spawn(process.execPath, ['--input-type=module', '-e', program, board], { stdio: 'ignore' });
    const ended = once(child, 'exit');
    let caught: number[] = [];
    for (let pause = 1; child.exitCode === null && child.signalCode === null; await sleep(pause)) {
      if (await disk.hasChanged()) caught.push(await disk.copy());
      if (caught.length < MOST_OF_ONE) continue;
      // It takes longer than was thought: every second moment will do, so that all of it is among them.
      const [kept, dropped] = [caught.filter((_, i) => i % 2 === 0), caught.filter((_, i) => i % 2 === 1)];
      for (const number of dropped) await disk.drop(number);
      caught = kept;
      pause *= 2;
    }
    assert.deepEqual(await ended, [0, null], 'the update itself');
    copies.push(...caught);
  }
  assert.ok(copies.length >= POINTS, `only ${copies.length} different moments were caught`);

  // Evenly spread over all that was caught.
  const chosen = Array.from({ length: POINTS }, (_, i) => copies[Math.floor((i * copies.length) / POINTS)] ?? 0);
  const work = chosen.values();
  const booted = new Map<string, number>();
  const worker = async () => {
    for (const number of work) {
      const when = `copy ${number} of ${copies.length}`;
      await disk.withCopy(number, async (folder) => {
        const own = join(folder, 'board');
        const first = await assertBootable(join(own, 'root'), trees, when);
        booted.set(first, (booted.get(first) ?? 0) + 1);
        await wakeUp(own);
        const result = await runOnce({ board: own });
        assert.deepEqual([result.state, result.booted], [{ kind: 'good', release: d }, d], when);
        await assertBootable(join(own, 'root'), trees, `${when}, continued`);
        await run('ostree', ['fsck', '--quiet', `--repo=${join(own, 'root/ostree/repo')}`]);
      });
    }
  };
  await Promise.all([worker(), worker()]);
  assert.ok(booted.size >= 3, 'moments before, between and after');
  t.diagnostic(
    `${copies.length} different moments caught, power lost at ${chosen.length} of them (TREELINE_CUT_POINTS)`,
  );
});

test('kill -9 of the agent and all that it runs, at any time: always bootable, and at last on the new release', {
  skip,
}, async () => {
  const board = await fixture.newBoard((dir) => ({ kind: 'ostree-sysroot', sysroot: join(dir, 'root'), os: OS }));
  const trees = new Map<string, string>();
  const module = new URL('../../cycle/agent.ts', import.meta.url).href;
  const program = `await (await import('${module}')).runAgent({ board: process.argv[1], pollSeconds: 0.05 });`;
  let last = '';
  for (let round = 0; round < 12; round++) {
    if (round % 3 === 0) {
      last = await releaseOf(trees, `kill ${round}`, 0);
      fixture.offer(last);
      if (round === 0) await runOnce({ board });
    }
    const child = spawn(process.execPath, ['--input-type=module', '-e', program, board], {
      ...{ stdio: 'ignore', detached: true },
    });
    const ended = once(child, 'exit'); // it may end by itself, to reboot
    await sleep(200 + Math.random() * 2000);
    try {
      process.kill(-(child.pid ?? 0), 'SIGKILL');
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
    }
    await ended;
    await assertBootable(join(board, 'root'), trees, `kill ${round}`);
  }
  const { state, booted } = await runOnce({ board });
  assert.deepEqual([state, booted], [{ kind: 'good', release: last }, last]);
});
