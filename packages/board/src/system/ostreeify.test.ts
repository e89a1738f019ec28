import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import {
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import type { BoardError } from '../errors.ts';
import { debianRoot, dracutRoot } from '../testing/debian-root.ts';
import { needsRoot } from '../testing/system-repo.ts';
import { makeSystem } from './in-repository.ts';
import { inspectSystem } from './inspect.ts';
import { ostreeify } from './ostreeify.ts';

const MODULES = ['virtio_blk', 'virtio_pci'];

test('everything that a root file system lacks is said at once, and nothing is made', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'treeline-lacks-'));
  try {
    mkdirSync(join(folder, 'root/usr/lib/systemd'), { recursive: true });
    writeFileSync(join(folder, 'root/usr/lib/systemd/systemd'), '');
    await assert.rejects(ostreeify(join(folder, 'root'), join(folder, 'tree')), (error: BoardError) => {
      assert.equal(error.code, 'system-incomplete');
      for (const word of [
        'ostree-prepare-root',
        'linux-image-',
        'initramfs-tools',
        'e2fsprogs',
        'udev',
        'kmod',
        '/bin',
      ]) {
        assert.ok(error.message.includes(word), `${word} in:\n${error.message}`);
      }
      assert.doesNotMatch(error.message, /systemd is not installed/);
      return true;
    });
    await assert.rejects(ostreeify(join(folder, 'none'), join(folder, 'tree')), /there is no /);
    assert.deepEqual(readdirSync(folder), ['root']);
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test("dracut's module for OSTree is found whatever its place among the others", async () => {
  const folder = mkdtempSync(join(tmpdir(), 'treeline-dracut-'));
  const said = () =>
    inspectSystem(folder).then(
      () => '',
      (error: BoardError) => error.message,
    );
  try {
    mkdirSync(join(folder, 'usr/sbin'), { recursive: true });
    mkdirSync(join(folder, 'usr/lib/dracut/modules.d/50ostree-not'), { recursive: true });
    assert.match(await said(), /nothing makes an initramfs/);
    writeFileSync(join(folder, 'usr/sbin/dracut'), '');
    assert.match(await said(), /dracut's module ostree is missing \(apt-get install ostree-boot\)/);
    for (const name of ['98ostree', '50ostree']) {
      mkdirSync(join(folder, 'usr/lib/dracut/modules.d', name));
      assert.doesNotMatch(await said(), /dracut's module ostree|nothing makes an initramfs/, name);
      rmSync(join(folder, 'usr/lib/dracut/modules.d', name), { recursive: true });
    }
  } finally {
    rmSync(folder, { recursive: true });
  }
});

describe('a real Debian', { skip: needsRoot, timeout: 900_000 }, () => {
  let folder = '';
  let tar = '';
  let source = '';
  before(async () => {
    folder = mkdtempSync(join(tmpdir(), 'treeline-debian-'));
    tar = await debianRoot();
    source = join(folder, 'source');
    mkdirSync(source);
    execFileSync('tar', ['--numeric-owner', '--xattrs', '--xattrs-include=*', '-xpf', tar, '-C', source]);
    mkdirSync(join(source, 'home/ana'));
    writeFileSync(join(source, 'home/ana/note'), 'hello');
    mkdirSync(join(source, 'opt/tool'));
    writeFileSync(join(source, 'opt/tool/run'), 'x');
    mkdirSync(join(source, 'var/lib/with blank'));
    writeFileSync(join(source, 'var/lib/with blank/100%'), 'y');
    execFileSync('chown', ['-R', '1234:1234', join(source, 'home/ana')]);
  });
  after(() => rmSync(folder, { recursive: true, force: true }));

  test('becomes a tree that OSTree takes: kernel, initramfs, /usr/etc, empty /var and what makes it again', async () => {
    const listing = () =>
      execFileSync('find', [source, '-printf', '%p %y %m %U %G %s %T@\n'], { maxBuffer: 2 ** 26, encoding: 'utf8' });
    const before = listing();
    const tree = join(folder, 'tree');
    const made = await ostreeify(source, tree, { modules: MODULES, hostname: 'robot' });
    assert.equal(listing(), before, 'the source is as it was');
    const modules = join(tree, 'usr/lib/modules', made.kernel);
    for (const name of ['vmlinuz', 'initramfs.img', 'config']) assert.ok(lstatSync(join(modules, name)).size > 0, name);
    const names = execFileSync('sh', ['-c', `zstd -dcq ${modules}/initramfs.img | cpio -t --quiet`], {
      encoding: 'utf8',
    });
    for (const path of [
      'usr/lib/ostree/ostree-prepare-root',
      'scripts/local-bottom/ostree',
      'scripts/init-bottom/treeline',
    ]) {
      assert.match(names, new RegExp(`^${path}$`, 'm'));
    }
    const times = execFileSync(
      'sh',
      ['-c', `zstd -dcq ${modules}/initramfs.img | cpio -tv --quiet | grep -vc 'Jan *1 *1970' || :`],
      { encoding: 'utf8' },
    );
    assert.equal(times.trim(), '0', 'files with times in the initramfs');
    for (const name of ['var', 'boot', 'dev', 'proc', 'run', 'sys', 'tmp', 'sysroot']) {
      assert.deepEqual(readdirSync(join(tree, name)), [], name);
    }
    assert.equal(readlinkSync(join(tree, 'home')), 'var/home');
    assert.equal(readlinkSync(join(tree, 'usr/local')), '../var/usrlocal');
    assert.ok(!existsSync(join(tree, 'etc')));
    assert.equal(readFileSync(join(tree, 'usr/etc/machine-id'), 'utf8'), '');
    assert.equal(readFileSync(join(tree, 'usr/etc/hostname'), 'utf8'), 'robot\n');
    assert.match(readFileSync(join(tree, 'usr/lib/sysimage/dpkg/status'), 'utf8'), /^Package: ostree$/m);
    assert.equal(lstatSync(join(tree, 'usr/bin/su')).mode & 0o7777, 0o4755);
    const lines = readFileSync(join(tree, 'usr/lib/tmpfiles.d/treeline-var.conf'), 'utf8');
    for (const line of [
      'L /var/lib/dpkg - - - - ../../usr/lib/sysimage/dpkg',
      'd /var/mail 2775 0 8 -',
      'C /var/home/ana',
      'L /var/opt/tool - - - - /usr/lib/opt/tool',
      'C "/var/lib/with blank/100%%" 0644 0 0 -',
    ]) {
      assert.ok(lines.split('\n').includes(line), `${line} in:\n${lines}`);
    }
    assert.equal(lstatSync(join(tree, 'usr/share/factory/var/home/ana/note')).uid, 1234);
    assert.equal(new Set(lines.split('\n').map((line) => line.split(' ')[1])).size, lines.split('\n').length - 1);
  });

  test('gives the same commit from a folder, from a tar and from a commit, and is left alone the second time', async () => {
    const repo = join(folder, 'repo');
    execFileSync('ostree', ['init', `--repo=${repo}`, '--mode=archive']);
    // OSTree takes no device nodes.
    const plain = join(folder, 'plain');
    mkdirSync(plain);
    execFileSync('tar', ['--numeric-owner', '--exclude=./dev/*', '-xpf', tar, '-C', plain]);
    execFileSync('ostree', ['commit', `--repo=${repo}`, '-b', 'raw', `--tree=dir=${plain}`, '--timestamp=2026-01-01']);
    const o = { modules: MODULES, work: folder };
    await makeSystem({ path: tar }, { repo, ref: 'from-tar' }, o);
    await makeSystem({ repo, rev: 'raw' }, { repo, ref: 'from-commit' }, o);
    const diff = execFileSync('ostree', ['diff', `--repo=${repo}`, 'from-tar', 'from-commit'], { encoding: 'utf8' });
    assert.equal(diff, '');
    const again = await makeSystem({ repo, rev: 'from-tar' }, { repo, ref: 'again' }, o);
    assert.equal(again.already, true);
    assert.equal(execFileSync('ostree', ['diff', `--repo=${repo}`, 'from-tar', 'again'], { encoding: 'utf8' }), '');
    assert.deepEqual(
      readdirSync(folder).filter((name) => name.startsWith('.')),
      [],
    );
  });
});

const noDracut = process.env.TREELINE_DRACUT === undefined ? 'makes another Debian: TREELINE_DRACUT=1' : false;

test('with dracut the initramfs finds the deployment, tries its init, and is the same each time', {
  skip: needsRoot || noDracut,
  timeout: 900_000,
}, async () => {
  const folder = mkdtempSync(join(tmpdir(), 'treeline-dracut-'));
  try {
    const tar = await dracutRoot();
    const initramfs = async (name: string, modules?: string[]) => {
      const tree = join(folder, name);
      const { kernel, initramfsTool } = await ostreeify(tar, tree, modules === undefined ? {} : { modules });
      assert.equal(initramfsTool, 'dracut');
      assert.ok(!existsSync(join(tree, 'usr/etc/systemd/system/treeline-init.service')), 'nothing of it in the system');
      return join(tree, 'usr/lib/modules', kernel, 'initramfs.img');
    };
    const small = await initramfs('small', MODULES);
    const listing = execFileSync('sh', ['-c', `zstd -dcq ${small} | cpio -tv --quiet`], { encoding: 'utf8' });
    for (const path of [
      'usr/lib/ostree/ostree-prepare-root',
      'etc/systemd/system/initrd.target.wants/treeline-init.service -> ../treeline-init.service',
      'etc/systemd/system/treeline-init.service',
      'etc/cmdline.d/60-treeline.conf',
      'usr/sbin/chroot',
    ]) {
      assert.ok(listing.includes(` ${path}\n`), `${path} in:\n${listing}`);
    }
    assert.match(listing, /virtio_blk\.ko/);
    assert.doesNotMatch(listing, /^[bc]/m, 'device nodes, which only root can make');
    const large = await initramfs('large');
    assert.ok(lstatSync(small).size < lstatSync(large).size * 0.8, 'the modules that are named, and no others');
    assert.ok(readFileSync(await initramfs('again', MODULES)).equals(readFileSync(small)));
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});
