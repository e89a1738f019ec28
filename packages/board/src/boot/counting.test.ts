import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { parseBoardFile } from '../board-file.ts';
import { openQemuBoard } from '../drive/qemu/qemu-board.ts';
import { QemuDrive } from '../drive/schema.ts';
import { makeExt4 } from '../image/ext4.ts';
import { makeFat } from '../image/fat.ts';
import { imageIdentity } from '../image/identity.ts';
import { partition } from '../image/partitions.ts';
import { makeSysroot, removeSysroot } from '../image/sysroot.ts';
import { makeSystemRepo, needsRoot } from '../testing/system-repo.ts';
import { grubEnvironment, makeGrub } from './grub.ts';
import type { Loader } from './loader.ts';
import { systemdBootFiles } from './systemd-boot.ts';
import { makeUbootScript, ubootEnvironment } from './uboot.ts';

const BOOT_MS = 180_000;

/**
 * Two deployments whose kernels no loader can start: what the loader picks it says, and what it counts it writes down.
 * The real firmware and boot loaders, without the minutes that a system takes.
 */
async function makeDisk(folder: string, loader: Loader, env: string | Buffer = ''): Promise<string> {
  const { repo, commit } = makeSystemRepo(folder);
  commit('old');
  commit('new');
  const architecture = loader === 'uboot' ? 'aarch64' : 'x86_64';
  const board = parseBoardFile(
    `name: t\narchitecture: ${architecture}\nboot: {loader: ${loader}}\nimage: {size: 160M, esp: 40M}\n`,
    't.yaml',
  );
  const sysroot = join(folder, 'sysroot');
  await makeSysroot(sysroot, { repo, commit: 'old', loader, kernelArguments: [] });
  execFileSync('ostree', ['pull-local', `--repo=${sysroot}/ostree/repo`, repo, 'new']);
  execFileSync('ostree', ['admin', 'deploy', `--sysroot=${sysroot}`, '--os=treeline', 'new']);
  const image = join(folder, 'disk.img');
  const identity = imageIdentity('test');
  const { esp, root } = await partition(image, board, identity);
  const files = {
    grub: async () => [await makeGrub(architecture, folder), { to: 'grubenv', content: env }],
    uboot: async () => [await makeUbootScript(architecture, 'firmware', folder), { to: 'uboot.env', content: env }],
    'systemd-boot': () => systemdBootFiles(architecture, join(sysroot, 'nothing of it'), join(sysroot, 'boot')),
  };
  const options = { identity, time: 1_700_000_000, folder };
  await makeFat(image, esp, await files[loader](), options);
  await makeExt4(image, root, sysroot, options);
  await removeSysroot(sysroot);
  return image;
}

/** Boots a copy of the disk until it has said something, and gives back what is then in a file of the FAT partition. */
async function bootOnce(image: string, folder: string, arch: 'x86_64' | 'aarch64', until: RegExp, file: string) {
  const dir = mkdtempSync(join(folder, 'boot-'));
  const drive = QemuDrive.parse({ kind: 'qemu', arch, memory: '512M', cpus: 1 });
  const board = await openQemuBoard({ name: 't', drive, folder: dir, log: null });
  try {
    await board.flash(image);
    await board.powerOn();
    const [said] = await board.console.waitFor(until, { since: 0, timeoutMs: BOOT_MS });
    await board.cutPower();
    const disk = join(dir, 'disk.img');
    const env = execFileSync('mtype', ['-i', `${disk}@@${2 ** 20}`, `::${file}`], { encoding: 'latin1' });
    const listed = execFileSync('mdir', ['-b', '-/', '-i', `${disk}@@${2 ** 20}`, '::'], { encoding: 'utf8' });
    const entries = [...listed.matchAll(/^::\/loader\/entries\/(.+)$/gm)].map(([, name]) => name!).sort();
    return { said, env, entries, text: board.console.text(0) };
  } finally {
    await board.close();
  }
}

/** Puts a file onto the FAT partition as the agent does: in place. */
function put(image: string, folder: string, name: string, content: string | Buffer): void {
  const path = join(folder, 'put');
  writeFileSync(path, content);
  execFileSync('mcopy', ['-o', '-i', `${image}@@${2 ** 20}`, path, `::${name}`]);
}

describe('boot loaders count the boots of an update', { skip: needsRoot, timeout: 900_000 }, () => {
  let folder = '';
  before(() => {
    folder = mkdtempSync(join(tmpdir(), 'treeline-counting-'));
  });
  after(() => rmSync(folder, { recursive: true, force: true }));

  test('GRUB: not when nothing is on trial; three times when it is; then the older deployment', async () => {
    const image = await makeDisk(folder, 'grub', grubEnvironment({ boot_success: '1' }));
    // GRUB names the entry that it boots: the newest deployment is the first.
    const picked = /Booting `Test (new|old) [^']*'/;
    const quiet = await bootOnce(image, folder, 'x86_64', picked, 'grubenv');
    assert.match(quiet.said, /Test new/);
    assert.doesNotMatch(quiet.text, /on trial/);
    assert.equal(quiet.env, grubEnvironment({ boot_success: '1' }).toString('latin1'));

    for (const [before, after, entry] of [
      ['3', '2', 'new'],
      ['1', '0', 'new'],
      ['0', '0', 'old'],
    ] as const) {
      put(image, folder, 'grubenv', grubEnvironment({ boot_success: '0', boot_counter: before }));
      const { said, env, text } = await bootOnce(image, folder, 'x86_64', picked, 'grubenv');
      assert.match(said, new RegExp(`Test ${entry}`), `boot_counter=${before}`);
      assert.match(text, new RegExp(`an update is on trial, boots left after this one: ${after}`));
      assert.match(env, new RegExp(`^boot_counter=${after}$`, 'm'));
      assert.equal(env.length, 1024);
    }

    // A damaged environment must not keep a board from booting.
    put(image, folder, 'grubenv', Buffer.alloc(1024, 0));
    assert.match((await bootOnce(image, folder, 'x86_64', picked, 'grubenv')).said, /Test new/);
  });

  test('U-Boot: the same, in uboot.env beside its script', async () => {
    const uboot = mkdtempSync(join(folder, 'uboot-'));
    const image = await makeDisk(uboot, 'uboot', ubootEnvironment({ upgrade_available: 0, bootcount: 0 }));
    const ended = /resetting \.\.\.|kernel_image2/;
    const quiet = await bootOnce(image, uboot, 'aarch64', ended, 'uboot.env');
    assert.doesNotMatch(quiet.text, /on trial/);
    assert.match(quiet.env, /^bootcount=0$/m);
    for (const [before, after, entry] of [
      [0, 1, 1],
      [2, 3, 1],
      [3, 4, 2],
      [4, 4, 2],
    ]) {
      put(image, uboot, 'uboot.env', ubootEnvironment({ upgrade_available: 1, bootcount: before! }));
      const { env, text } = await bootOnce(image, uboot, 'aarch64', ended, 'uboot.env');
      assert.match(
        text,
        new RegExp(`an update is on trial, boot ${after} of 3, entry ${entry}`),
        `bootcount=${before}`,
      );
      assert.match(env, new RegExp(`^bootcount=${after}$`, 'm'));
      assert.match(env, /^upgrade_available=1$/m);
    }
  });

  test('systemd-boot: the same, in the name of the entry', async () => {
    const own = mkdtempSync(join(folder, 'systemd-boot-'));
    const image = await makeDisk(own, 'systemd-boot');
    const fat = `${image}@@${2 ** 20}`;
    const entry = (name: string) =>
      execFileSync('mtype', ['-i', fat, `::loader/entries/${name}`], { encoding: 'utf8' });
    const kernel = (name: string) => /^linux \/ostree\/(\S+)\/vmlinuz/m.exec(entry(name))?.[1];
    const [older, newer] = [kernel('ostree-1.conf'), kernel('ostree-2.conf')];
    assert.ok(older && newer && older !== newer);
    // It says what it cannot load, and leaves it to the firmware to go on.
    const ended = /Error loading \\ostree\\(\S+)\\vmlinuz/;
    let name = 'ostree-2.conf';
    for (const [before, after, picked] of [
      ['ostree-2.conf', 'ostree-2.conf', newer],
      ['ostree-2+3.conf', 'ostree-2+2-1.conf', newer],
      ['ostree-2+1-2.conf', 'ostree-2+0-3.conf', newer],
      ['ostree-2+0-3.conf', 'ostree-2+0-3.conf', older],
    ] as const) {
      if (name !== before) execFileSync('mren', ['-i', fat, `::loader/entries/${name}`, `::loader/entries/${before}`]);
      name = before;
      const { said, entries } = await bootOnce(image, own, 'x86_64', ended, 'loader/loader.conf');
      assert.equal(ended.exec(said)?.[1], picked, before);
      assert.deepEqual(entries, ['ostree-1.conf', after], before);
    }
  });
});
