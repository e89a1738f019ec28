import assert from 'node:assert/strict';
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdir, readlink, rm, stat } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { createFixture, type Fixture } from '../testing/fixture.ts';
import { runOnce } from './agent.ts';
import { agentStatus } from './status.ts';

const run = promisify(execFile);

/** What a cut at a moment is: the agent alone dies, or the board loses power, and its /run with it. */
type Cut = 'kill' | 'power';
const cutOff = new RangeError('cut off here');

let fixture: Fixture;
let template: string;
let base: string;
before(async () => {
  fixture = await createFixture({ memory: true });
  template = await fixture.newBoard();
  base = await fixture.release({ 'usr/share/app': 'base' });
  fixture.offer(base);
  await runOnce({ board: template });
});
after(() => fixture.close());

let copies = 0;
async function copyOfBoard(): Promise<string> {
  const board = join(fixture.dir, `copy-${++copies}`);
  // Links do for a copy: the agent replaces files, it never writes into one.
  await run('cp', ['-al', template, board]);
  return board;
}

/** Guarantee 8: whatever the boot loader may choose now is there, and whole. */
async function assertBootable(board: string, when: string): Promise<void> {
  const sysroot = join(board, 'sysroot');
  // Beside the links: how often it may be tried, and what a killed agent was writing of that.
  const names = (await readdir(join(sysroot, 'boot'))).filter((name) => !/^\.?tries/.test(name));
  assert.ok(names.includes('default'), `${when}: a default`);
  for (const name of names) {
    const target = basename(await readlink(join(sysroot, 'boot', name)));
    for (const part of ['usr/bin/sh', 'usr/etc/hostname', 'etc/hostname', 'usr/share/app']) {
      const stats = await stat(join(sysroot, 'deploy', target, part)).catch(() => null);
      assert.ok(stats !== null, `${when}: ${name} has ${part}`);
    }
  }
}

/** The steps of an update, in order, from an undisturbed run. */
async function stepsOf(): Promise<string[]> {
  const steps: string[] = [];
  await runOnce({
    board: await copyOfBoard(),
    checkpoint: (step) => {
      steps.push(step);
    },
  });
  return steps;
}

async function cutAt(index: number, cut: Cut): Promise<string> {
  const board = await copyOfBoard();
  let count = 0;
  await assert.rejects(
    runOnce({
      board,
      checkpoint: () => {
        if (count++ === index) throw cutOff;
      },
    }),
    cutOff,
  );
  if (cut === 'power') await rm(join(board, 'sysroot/run'), { recursive: true, force: true });
  return board;
}

async function cutEverywhere(steps: readonly string[], expect: (board: string, when: string) => Promise<void>) {
  // As long as the boot order is the old one, a power cut shows nothing that a kill does not.
  const switched = steps.indexOf('switch');
  const cases = steps.flatMap((step, index) =>
    (index < switched ? (['kill'] as const) : (['kill', 'power'] as const)).map((cut) => ({ step, index, cut })),
  );
  const work = cases.entries();
  const worker = async () => {
    for (const [, { step, index, cut }] of work) {
      const when = `${cut} before "${step}" (${index})`;
      const board = await cutAt(index, cut);
      await assertBootable(board, when);
      await expect(board, when);
      await assertBootable(board, `${when}, then continued`);
      await rm(board, { recursive: true, force: true });
    }
  };
  await Promise.all([worker(), worker(), worker(), worker()]);
}

test('cut off before any step of an update, the board goes on and arrives', async () => {
  const release = await fixture.release({ 'usr/share/app': 'next' });
  fixture.offer(release);
  const steps = await stepsOf();
  for (const step of ['pull', 'stage', 'switch', 'boot-order: swap', 'reboot: off', 'verify', 'mark-good: clean']) {
    assert.ok(steps.includes(step), step);
  }
  await cutEverywhere(steps, async (board, when) => {
    const result = await runOnce({ board });
    assert.deepEqual(result.state, { kind: 'good', release }, when);
    assert.equal(result.booted, release, when);
    const left = await readdir(join(board, 'sysroot/deploy'));
    assert.deepEqual(left.sort(), [`${base}.0`, `${release}.0`].sort(), when);
  });
});

test('cut off before any step of a fall back, the board comes home and remembers', async () => {
  const bad = await fixture.release({
    'usr/share/app': 'bad',
    'usr/lib/treeline/check/required.d/10-never': '#!/bin/sh\nexit 1\n',
  });
  fixture.offer(bad);
  const steps = await stepsOf();
  assert.ok(steps.includes('settle: clean'));
  await cutEverywhere(steps, async (board, when) => {
    const result = await runOnce({ board });
    assert.equal(result.state.kind, 'rolled-back', when);
    assert.equal(result.booted, base, when);
    assert.equal((await runOnce({ board })).transfer, null, `${when}: it is not fetched again`);
    assert.deepEqual(await readdir(join(board, 'sysroot/deploy')), [`${base}.0`], when);
  });
});

test('kill -9 at random moments, power cuts in between: always bootable, at last on the new release', async () => {
  const board = await copyOfBoard();
  const module = new URL('./agent.ts', import.meta.url).href;
  const program = `await (await import('${module}')).runAgent({ board: process.argv[1], pollSeconds: 0.05 });`;
  let release = '';
  for (let round = 0; round < 3; round++) {
    release = await fixture.release({ 'usr/share/app': `round ${round}` });
    fixture.offer(release);
    for (let i = 0; i < 3; i++) {
      const child = spawn(process.execPath, ['--input-type=module', '-e', program, board], { stdio: 'ignore' });
      const ended = once(child, 'exit'); // it may end by itself, to reboot
      await sleep(150 + Math.random() * 900);
      child.kill('SIGKILL');
      await ended;
      if (i === 1) await rm(join(board, 'sysroot/run'), { recursive: true, force: true });
      await assertBootable(board, `round ${round}, kill ${i}`);
    }
  }
  await runOnce({ board });
  const status = await agentStatus(board);
  assert.deepEqual(status.state, { kind: 'good', release });
  assert.deepEqual(status.bad, []);
  assert.equal(status.running?.commit, release);
});
