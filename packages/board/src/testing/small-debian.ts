import { execFileSync } from 'node:child_process';
import { mkdirSync, readdirSync, realpathSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { ostreeify } from '../system/ostreeify.ts';
import { debianRoot } from './debian-root.ts';

/** Debian's own init and what it needs to start and to reboot. */
const PROGRAMS = [
  ...['usr/lib/systemd/systemd', 'usr/lib/systemd/systemd-shutdown', 'usr/lib/systemd/systemd-sysctl'],
  ...['usr/lib/systemd/systemd-remount-fs', 'usr/lib/systemd/system-generators/systemd-fstab-generator'],
  ...['usr/bin/systemctl', 'usr/bin/udevadm', 'usr/bin/dash', 'usr/bin/cat', 'usr/bin/sleep', 'usr/bin/sync'],
  ...['usr/bin/mount', 'usr/bin/umount', 'usr/bin/kmod', 'usr/sbin/fsfreeze'],
];
/** The link to it is absolute. */
const LINKER = 'usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2';
const FOLDERS = ['usr/lib/systemd/system', 'usr/lib/udev/rules.d'];
/** Of what sysinit.target wants, what matters here: no journal, no random seed. */
const WANTED = ['systemd-sysctl.service', 'systemd-udevd.service', 'systemd-udev-trigger.service'];

/** Says that the system is up, and which it is; then it is done. */
const UP = `[Unit]
Description=Say that the system is up

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/sh -c 'read version </usr/share/version; echo "the $$version system is up" >/dev/console'
`;

/**
 * A Debian with nothing but its kernel, its initramfs as `ostreeify` makes it, and systemd: what goes wrong in a boot goes
 * wrong in it as in a whole one, and an emulated machine boots it in seconds.
 *
 * @param folder for the tree
 * @returns the tree, to be copied and changed
 */
export async function smallDebian(folder: string): Promise<string> {
  const whole = join(folder, 'whole');
  const { kernel } = await ostreeify(await debianRoot(), whole, { modules: ['virtio_blk', 'virtio_pci'] });
  const root = join(folder, 'small');
  const copy = (...paths: string[]) => execFileSync('cp', ['-a', '--parents', '-t', root, ...paths], { cwd: whole });
  /** What a path leads to, and the links on the way there. */
  const take = (path: string) => copy(...new Set([path, realpathSync(join(whole, path)).slice(whole.length + 1)]));
  mkdirSync(root);
  copy(...readdirSync(whole).filter((name) => name !== 'usr'), 'usr/etc/systemd', 'usr/lib64', ...FOLDERS);
  const libraries = new Set<string>();
  for (const program of PROGRAMS) {
    take(program);
    const args = [whole, `/${LINKER}`, '--list', `/${program}`];
    const listed = execFileSync('chroot', args, { encoding: 'utf8' });
    for (const [path] of listed.matchAll(/(?<==> \/|\n\t\/)\S+(?= \()/g))
      libraries.add(`usr/${path.replace(/^usr\//, '')}`);
  }
  copy(LINKER);
  for (const path of libraries) if (!path.startsWith('usr/lib64/')) take(path);
  const modules = `usr/lib/modules/${kernel}`;
  const parts = readdirSync(join(whole, modules)).filter((name) => name !== 'kernel');
  copy(...[...parts, 'kernel/drivers/watchdog'].map((name) => `${modules}/${name}`));
  for (const [name, to] of [
    ['usr/bin/sh', 'dash'],
    ['usr/sbin/modprobe', '/usr/bin/kmod'],
    ['usr/sbin/init', '/usr/lib/systemd/systemd'],
    ['usr/lib/systemd/systemd-udevd', '/usr/bin/udevadm'],
  ] as const) {
    mkdirSync(dirname(join(root, name)), { recursive: true });
    rmSync(join(root, name), { force: true });
    symlinkSync(to, join(root, name));
  }
  const wants = join(root, 'usr/lib/systemd/system/sysinit.target.wants');
  for (const name of readdirSync(wants)) if (!WANTED.includes(name)) rmSync(join(wants, name));
  const put = (path: string, text: string) => {
    mkdirSync(dirname(join(root, path)), { recursive: true });
    writeFileSync(join(root, path), text);
  };
  put('usr/lib/os-release', 'ID=small\nVERSION_ID=1\nPRETTY_NAME="Small"\n');
  put('usr/etc/passwd', 'root:x:0:0::/root:/bin/sh\n');
  put('usr/etc/group', 'root:x:0:\ntty:x:5:\ndisk:x:6:\nkmem:x:15:\n');
  put('usr/etc/fstab', '');
  // Not empty: systemd would take each boot for the first one.
  put('usr/etc/machine-id', '00000000000000000000000000000001\n');
  put('usr/lib/systemd/system/up.service', UP);
  put(
    'usr/lib/systemd/system/small.target',
    '[Unit]\nRequires=basic.target\nAfter=basic.target\nWants=up.service\nAllowIsolate=yes\n',
  );
  rmSync(join(root, 'usr/lib/systemd/system/default.target'), { force: true });
  symlinkSync('small.target', join(root, 'usr/lib/systemd/system/default.target'));
  rmSync(join(root, 'usr/etc/systemd/system'), { recursive: true, force: true });
  for (const name of readdirSync(join(root, 'usr/lib/systemd/system'))) {
    if (name.startsWith('systemd-journald')) rmSync(join(root, 'usr/lib/systemd/system', name), { recursive: true });
  }
  rmSync(whole, { recursive: true });
  return root;
}
