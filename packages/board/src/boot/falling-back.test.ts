import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { chmodSync, cpSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { parseBoardFile } from '../board-file.ts';
import { openQemuBoard } from '../drive/qemu/qemu-board.ts';
import { QemuDrive } from '../drive/schema.ts';
import { makeExt4 } from '../image/ext4.ts';
import { type FatFile, makeFat } from '../image/fat.ts';
import { imageIdentity } from '../image/identity.ts';
import { partition } from '../image/partitions.ts';
import { makeSysroot, removeSysroot, STATEROOT } from '../image/sysroot.ts';
import { smallDebian } from '../testing/small-debian.ts';
import { needsRoot } from '../testing/system-repo.ts';
import { grubEnvironment, makeGrub } from './grub.ts';
import { bootLayerFiles } from './layer.ts';
import { systemdBootFiles } from './systemd-boot.ts';

// What ends a bad boot: Debian's kernel and systemd on an emulated machine, with the files of the layer treeline/boot. The
// update on trial has one boot left: it goes wrong, the machine boots again by itself, and GRUB takes the old system.

const LIMIT_MS = 300_000;

const ALL = process.env.TREELINE_FALLBACKS === 'all';
const SKIPPED = 'takes a minute more: TREELINE_FALLBACKS=all';

/** Each character on the serial line of an emulated machine costs time. */
const ARGUMENTS = ['console=ttyS0', 'quiet', 'mitigations=off', 'fastboot', 'systemd.show_status=no'];

/** The deadline belongs to the agent, whose package is not known to this one: its files are taken as they lie. */
const AGENT_LAYER = join(import.meta.dirname, '../../../agent/src/layer/files');
const DEADLINE = ['treeline-boot-deadline.service', 'treeline-boot-deadline.timer'];

/** GRUB says what it boots; systemd-boot says nothing, and the system has to. */
const THE_OLD = { grub: /Booting `Small \(ostree:1\)'/, 'systemd-boot': /the old system is up/ };

type Loader = keyof typeof THE_OLD;

interface Case {
  /** Makes the bad system of a copy of the good one. */
  spoil(root: string): void;
  /** What the console says of it. */
  said: RegExp;
  /** Whether the bad system comes up before it goes wrong; null: it may. */
  up?: boolean | null;
  /** Default: GRUB. */
  loader?: Loader;
  /** In every run of the tests; the others take minutes more, and need `TREELINE_FALLBACKS=all`. */
  always?: boolean;
}

const put = (root: string, path: string, text: string) => {
  mkdirSync(dirname(join(root, path)), { recursive: true });
  writeFileSync(join(root, path), text);
};

/** Does something once the system is up. */
const later = (root: string, command: string) =>
  put(root, 'usr/lib/systemd/system/up.service.d/later.conf', `[Service]\nExecStart=/bin/sh -c '${command}'\n`);

const CASES: Readonly<Record<string, Case>> = {
  'has no init': {
    always: true,
    spoil: (root) => rmSync(join(root, 'usr/sbin/init')),
    said: /the deployment has no init/,
  },
  'has no init, and systemd-boot counts': {
    spoil: (root) => rmSync(join(root, 'usr/sbin/init')),
    said: /the deployment has no init/,
    loader: 'systemd-boot',
  },
  'has an init that cannot be run': {
    spoil: (root) => chmodSync(join(root, 'usr/lib/systemd/systemd'), 0o644),
    said: /the deployment has no init/,
  },
  'ends in emergency mode': {
    spoil: (root) => put(root, 'usr/etc/fstab', 'none /var/data nonsense defaults 0 0\n'),
    said: /treeline: emergency mode, rebooting in 30 seconds/,
  },
  'panics in the kernel': {
    spoil: (root) => later(root, 'echo c > /proc/sysrq-trigger'),
    said: /Kernel panic - not syncing: sysrq triggered crash/,
    up: true,
  },
  'has an init that hangs, so that the watchdog bites': {
    always: true,
    spoil(root) {
      put(root, 'usr/lib/systemd/system.conf.d/90-soon.conf', '[Manager]\nRuntimeWatchdogSec=10s\n');
      // systemd's own handler stops everything, and stays.
      later(root, 'until [ -e /dev/watchdog0 ]; do sleep 1; done; sleep 10; kill -SEGV 1');
    },
    // Debian's kernel for clouds has no driver of a hardware's: its own is loaded then.
    said: /Freezing execution[\s\S]*softdog: Initiating system reboot/,
    up: true,
  },
  'hangs on a file system that does not answer': {
    spoil(root) {
      put(root, 'usr/lib/sysctl.d/90-soon.conf', 'kernel.hung_task_timeout_secs = 10\n');
      later(root, 'fsfreeze --freeze / && echo > /var/hangs');
    },
    said: /Kernel panic - not syncing: hung_task: blocked tasks/,
    up: true,
  },
  'boots, and nobody says that it is good': {
    always: true,
    spoil(root) {
      const units = 'usr/lib/systemd/system';
      for (const name of DEADLINE) cpSync(join(AGENT_LAYER, units, name), join(root, units, name));
      mkdirSync(join(root, 'usr/lib/treeline'), { recursive: true });
      cpSync(join(AGENT_LAYER, 'usr/lib/treeline/boot-deadline'), join(root, 'usr/lib/treeline/boot-deadline'));
      chmodSync(join(root, 'usr/lib/treeline/boot-deadline'), 0o755);
      mkdirSync(join(root, units, 'sysinit.target.wants'), { recursive: true });
      symlinkSync(`../${DEADLINE[1]}`, join(root, units, 'sysinit.target.wants', DEADLINE[1]!));
      put(root, `${units}/${DEADLINE[1]}.d/soon.conf`, '[Timer]\nOnBootSec=\nOnBootSec=15s\n');
      put(root, `${units}/${DEADLINE[0]}.d/console.conf`, '[Service]\nStandardOutput=tty\n');
    },
    said: /treeline: this boot of an update has not proved good in time: rebooting/,
    up: null,
  },
};

describe('a system that goes wrong is left for the one before it', { skip: needsRoot, timeout: 1_800_000 }, () => {
  let folder = '';
  let good = '';
  let repo = '';
  before(async () => {
    folder = mkdtempSync(join(tmpdir(), 'treeline-falling-back-'));
    good = await smallDebian(folder);
    for (const [path, text] of Object.entries(bootLayerFiles('grub'))) put(good, path, text);
    repo = join(folder, 'repo');
    execFileSync('ostree', ['init', `--repo=${repo}`, '--mode=bare']);
    commit('old', good);
  });
  after(async () => {
    await removeSysroot(join(folder, 'sysroot'));
    rmSync(folder, { recursive: true, force: true });
  });

  function commit(name: string, tree: string): void {
    put(tree, 'usr/share/version', `${name}\n`);
    execFileSync('ostree', ['commit', `--repo=${repo}`, '-b', name, `--tree=dir=${tree}`, '--timestamp=2026-01-01']);
  }

  /** A disk with the old system, and over it the bad one, which is on trial and has one boot left. */
  async function makeDisk(spoil: Case['spoil'], loader: Loader): Promise<string> {
    const tree = join(folder, 'bad');
    cpSync(good, tree, { recursive: true, verbatimSymlinks: true });
    spoil(tree);
    commit('bad', tree);
    rmSync(tree, { recursive: true });
    const board = parseBoardFile(
      'name: t\narchitecture: x86_64\nboot: {loader: grub}\nimage: {size: 330M, esp: 100M}\n',
      't.yaml',
    );
    const sysroot = join(folder, 'sysroot');
    await makeSysroot(sysroot, { repo, commit: 'old', loader, kernelArguments: ARGUMENTS });
    execFileSync('ostree', ['pull-local', `--repo=${sysroot}/ostree/repo`, repo, 'bad']);
    execFileSync('ostree', ['admin', 'deploy', `--sysroot=${sysroot}`, `--os=${STATEROOT}`, 'bad']);
    // As the agent leaves it when it reboots into an update.
    put(sysroot, `ostree/deploy/${STATEROOT}/var/lib/treeline/armed`, 'the boot before\n');
    const image = join(folder, 'disk.img');
    const identity = imageIdentity('test');
    const { esp, root } = await partition(image, board, identity);
    const options = { identity, time: 1_700_000_000, folder };
    await makeFat(image, esp, await loaderFiles(loader, sysroot), options);
    await makeExt4(image, root, sysroot, options);
    await removeSysroot(sysroot);
    return image;
  }

  /** As the agent leaves the boot loader when one boot is left. */
  async function loaderFiles(loader: Loader, sysroot: string): Promise<FatFile[]> {
    if (loader === 'grub') {
      const content = grubEnvironment({ boot_success: '0', boot_counter: '1' });
      return [await makeGrub('x86_64', folder), { to: 'grubenv', content }];
    }
    const files = await systemdBootFiles('x86_64', join(folder, 'nothing'), join(sysroot, 'boot'));
    return files.map((file) => ({ ...file, to: file.to.replace('/ostree-2.conf', '/ostree-2+1-2.conf') }));
  }

  for (const [name, { spoil, said, up = false, loader = 'grub', always = false }] of Object.entries(CASES)) {
    test(name, { skip: always || ALL ? false : SKIPPED }, async () => {
      const image = await makeDisk(spoil, loader);
      const drive = QemuDrive.parse({ kind: 'qemu', arch: 'x86_64', memory: '512M', cpus: 1 });
      const log =
        process.env.TREELINE_CONSOLES === undefined ? null : join(process.env.TREELINE_CONSOLES, `${name}.log`);
      const board = await openQemuBoard({ name: 'falls', drive, folder: join(folder, 'board'), log });
      try {
        await board.flash(image);
        rmSync(image);
        await board.powerOn();
        const wait = { since: 0, timeoutMs: LIMIT_MS };
        await Promise.race([board.console.waitFor(THE_OLD[loader], wait), board.trouble]);
        const text = board.console.text(0);
        assert.match(text, said);
        if (up !== null) assert.equal(/the bad system is up/.test(text), up);
        if (loader === 'grub') assert.match(text, /boots left after this one: 0, entry 0[\s\S]*: 0, entry 1/);
        assert.equal(board.boots, 2);
      } finally {
        await board.close();
      }
    });
  }
});
