import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { promisify } from 'node:util';
import type { BootLoaderKind } from '../../boot-loader/boot-loader.ts';
import { formatGrubEnv, parseGrubEnv } from '../../boot-loader/grub.ts';
import { playBoot } from '../../boot-loader/play.ts';
import { formatUbootEnv, parseUbootEnv } from '../../boot-loader/uboot.ts';
import { runOnce } from '../../cycle/agent.ts';
import { goBack } from '../../cycle/by-hand.ts';
import { agentStatus } from '../../cycle/status.ts';
import { createFixture, type Fixture } from '../../testing/fixture.ts';

const run = promisify(execFile);
const skip = process.getuid?.() === 0 ? false : 'ostree admin needs root';
const cutOff = new RangeError('cut off here');

let fixture: Fixture;
before(async () => {
  if (skip === false) fixture = await createFixture({ memory: true });
});
after(() => fixture?.close());

test('the environment blocks are read and written as the boot loaders have them', () => {
  const grub = new Map([
    ['boot_success', '0'],
    ['odd', 'a\\b'],
  ]);
  const block = formatGrubEnv(grub);
  assert.equal(block.length, 1024);
  assert.ok(block.toString('latin1').startsWith('# GRUB Environment Block\nboot_success=0\nodd=a\\\\b\n###'));
  assert.deepEqual(parseGrubEnv(block), grub);
  assert.deepEqual(parseGrubEnv(Buffer.from('nothing')), new Map());
  const uboot = formatUbootEnv(
    new Map([
      ['upgrade_available', '1'],
      ['bootcount', '0'],
    ]),
    64,
  );
  assert.equal(uboot.length, 64);
  assert.ok(uboot.toString('latin1').startsWith('bootcount=0\nupgrade_available=1\n\0'));
  assert.deepEqual(
    parseUbootEnv(Buffer.from('a=1\r\nb=x=y\n\0c=2\n')),
    new Map([
      ['a', '1'],
      ['b', 'x=y'],
    ]),
  );
});

const release = (loader: BootLoaderKind, text: string, code = 0) =>
  fixture.release({
    'usr/lib/treeline/boot.json': JSON.stringify({ version: 1, loader, esp: 'PARTLABEL=esp' }),
    'usr/lib/treeline/check/required.d/10-app': `#!/bin/sh\nexit ${code}\n`,
    'usr/share/app': text,
    'usr/lib/modules/6.1/vmlinuz': `kernel of ${text}`,
  });

for (const loader of ['grub', 'uboot', 'systemd-boot'] as const) {
  test(`${loader}: an update that never comes up is left after three boots, and recognised`, { skip }, async () => {
    const board = await fixture.newBoard((dir) => ({
      kind: 'ostree-sysroot',
      sysroot: join(dir, 'root'),
      os: 'robot',
    }));
    const agentDir = join(board, 'agent');
    const esp = join(agentDir, 'esp');
    const a = await release(loader, 'a');
    fixture.offer(a);
    assert.deepEqual((await runOnce({ board })).state, { kind: 'good', release: a });
    const b = await release(loader, 'b');
    fixture.offer(b);
    assert.deepEqual((await runOnce({ board })).state, { kind: 'good', release: b }, 'a good one is counted no more');
    for (let i = 0; i < 5; i++) await playBoot(loader, esp);
    await rm(join(agentDir, 'booted.json'));
    assert.equal((await runOnce({ board })).booted, b, 'booted often, it stays');

    // C panics: the agent arms, reboots, and is not heard of again in three boots.
    const c = await release(loader, 'c');
    fixture.offer(c);
    await assert.rejects(
      runOnce({
        board,
        checkpoint: (step) => {
          if (step === 'reboot') throw cutOff;
        },
      }),
      cutOff,
    );
    assert.ok((await readFile(join(board, 'armed'), 'utf8')).length > 8, 'a boot without an agent would be ended');
    for (let i = 0; i < 3; i++) await playBoot(loader, esp);
    await rm(join(agentDir, 'booted.json'));
    const back = await runOnce({ board });
    const why = 'the boot loader went back: it did not prove good in time';
    assert.deepEqual(back.state, { kind: 'rolled-back', from: c, why });
    assert.equal(back.booted, b);
    await assert.rejects(readFile(join(board, 'armed')), { code: 'ENOENT' });
    assert.equal((await runOnce({ board })).transfer, null, 'it is not taken again');
    const reported = fixture.states.findLast((state) => state.state === 'rolled-back');
    assert.deepEqual(
      [reported?.from, (reported?.details as { bootLoader?: string } | undefined)?.bootLoader],
      [c, loader],
    );

    // D is sick: the agent uses the count up, and the deployment before comes back with its /etc.
    const etc = join(board, `root/ostree/deploy/robot/deploy/${b}.0/etc/local`);
    await run('chattr', ['-i', join(etc, '../..')]).catch(() => {});
    await writeFile(etc, 'of b');
    const d = await release(loader, 'd', 3);
    fixture.offer(d);
    assert.equal((await runOnce({ board })).state.kind, 'rolled-back');
    const status = await agentStatus(board);
    assert.deepEqual(status.running, { commit: b, serial: 0 }, 'the very deployment, not a new one of the same commit');
    assert.equal(await readFile(etc, 'utf8'), 'of b');
    for (let i = 0; i < 3; i++) await playBoot(loader, esp);
    await rm(join(agentDir, 'booted.json'));
    assert.equal((await runOnce({ board })).booted, b);

    // A person goes back from a good one.
    const e = await release(loader, 'e');
    fixture.offer(e);
    assert.deepEqual((await runOnce({ board })).state, { kind: 'good', release: e });
    assert.deepEqual(await goBack({ board, why: 'the arm shakes' }), { from: e, to: b, byAgent: false });
    const left = await agentStatus(board);
    assert.deepEqual([left.state, left.running?.commit], [{ kind: 'rolled-back', from: e, why: 'the arm shakes' }, b]);
    if (loader === 'systemd-boot') {
      const entries = await readdir(join(esp, 'loader/entries'));
      assert.equal(entries.length, 1, entries.join(' '));
      assert.equal((await readdir(join(esp, 'ostree'))).length, 1);
    }
  });
}

test('a count that is broken or absent stops nothing', { skip }, async () => {
  const board = await fixture.newBoard((dir) => ({ kind: 'ostree-sysroot', sysroot: join(dir, 'root'), os: 'robot' }));
  const a = await release('grub', 'whole');
  fixture.offer(a);
  await runOnce({ board });
  await mkdir(join(board, 'agent/esp'), { recursive: true });
  await writeFile(join(board, 'agent/esp/grubenv'), Buffer.alloc(1024, 7));
  const b = await release('grub', 'whole too');
  fixture.offer(b);
  assert.deepEqual((await runOnce({ board })).state, { kind: 'good', release: b });
  const variables = parseGrubEnv(await readFile(join(board, 'agent/esp/grubenv')));
  assert.deepEqual([...variables], [['boot_success', '1']]);
});
