import { chmod, copyFile, cp, lstat, mkdir, readdir, readFile, rename, rm, symlink, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { exists, type Inspected } from './inspect.ts';
import { DPKG_DATABASE } from './layout.ts';

/** Timers that write to what is read-only here, or fetch for it. */
const TIMERS = ['apt-daily.timer', 'apt-daily-upgrade.timer', 'dpkg-db-backup.timer'];

/** Where a device makes host keys of its own: those of an image would be everybody's. */
const SSH_KEYS = `[Unit]
Description=Host keys of this machine
ConditionPathExists=!/etc/ssh/ssh_host_ed25519_key
Before=ssh.service sshd.service ssh.socket

[Service]
Type=oneshot
ExecStart=/usr/bin/ssh-keygen -A

[Install]
WantedBy=multi-user.target
`;

/** ostree-prepare-root of 2023 and newer reads this; the older one, the repository's settings. */
const PREPARE_ROOT = `[sysroot]
readonly=true
`;

/**
 * ostree-prepare-root leaves /boot writable, and so does the boot.mount with which the newest libostree replaces what it
 * did there. libostree's own commands make it writable for themselves.
 */
const READONLY_BOOT = `[Unit]
Description=Make /boot read-only
DefaultDependencies=no
ConditionPathIsMountPoint=/boot
ConditionPathExists=/run/ostree-booted
After=ostree-remount.service systemd-remount-fs.service boot.mount
Before=local-fs.target shutdown.target
Conflicts=shutdown.target

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/usr/bin/mount -o remount,bind,ro /boot

[Install]
WantedBy=local-fs.target
`;

/**
 * The kernel, its configuration and the device trees go beside its modules, where OSTree looks for them. Empties /boot.
 */
export async function moveKernel(root: string, { kernel, architecture }: Inspected): Promise<void> {
  const modules = join(root, 'usr/lib/modules', kernel);
  for (const [from, to] of [
    [`boot/vmlinuz-${kernel}`, 'vmlinuz'],
    [`boot/config-${kernel}`, 'config'],
    [`boot/System.map-${kernel}`, 'System.map'],
  ] as const) {
    if (await exists(join(root, from))) await rename(join(root, from), join(modules, to));
  }
  const trees = join(root, 'usr/lib', `linux-image-${kernel}`);
  if (architecture === 'aarch64' && (await exists(trees)) && !(await exists(join(modules, 'dtb')))) {
    await cp(trees, join(modules, 'dtb'), { recursive: true, verbatimSymlinks: true });
  }
  // Other kernels' modules cannot be booted, and OSTree refuses a tree that has two kernels.
  for (const other of await readdir(join(root, 'usr/lib/modules'))) {
    if (other !== kernel) await rm(join(root, 'usr/lib/modules', other), { recursive: true });
  }
  for (const name of await readdir(root)) {
    if (/^(vmlinuz|initrd\.img)(\.old)?$/.test(name)) await rm(join(root, name), { force: true });
  }
}

/** What each machine makes for itself in /etc, and no two may share: its id, host keys, what tools keep beside their files. */
const OF_ONE_MACHINE =
  /^\/etc\/(machine-id|\.updated|\.pwd\.lock|(passwd|group|shadow|gshadow|subuid|subgid)-|ssh\/ssh_host_.*key(\.pub)?)$/;

/** Whether a file, `/etc/…`, is of one machine only, so that no other may have it by way of a release. */
export function isOfOneMachine(path: string): boolean {
  return OF_ONE_MACHINE.test(path);
}

/**
 * What belongs to one machine goes: its id, host keys, name servers, the copies that tools left of files with times in
 * them. What the system needs to update itself is switched on.
 */
export async function generalize(root: string, o: { hostname: string }): Promise<string[]> {
  const removed: string[] = [];
  const remove = async (path: string) => {
    if (!(await exists(join(root, path)))) return;
    await rm(join(root, path), { recursive: true, force: true });
    removed.push(`/${path}`);
  };
  const info = await lstat(join(root, 'etc/resolv.conf')).catch(() => null);
  // A file is the copy of the building machine's that mmdebstrap makes; a link is how a resolver wants it.
  if (info?.isFile()) {
    await remove('etc/resolv.conf');
    if (await exists(join(root, 'usr/lib/systemd/systemd-resolved'))) {
      await symlink('../run/systemd/resolve/stub-resolv.conf', join(root, 'etc/resolv.conf'));
    }
  }
  for (const folder of ['etc', 'etc/ssh']) {
    if (!(await exists(join(root, folder)))) continue;
    for (const name of await readdir(join(root, folder))) {
      const path = `${folder}/${name}`;
      // An empty machine-id, which comes next, says to make one.
      if (isOfOneMachine(`/${path}`) && path !== 'etc/machine-id') await remove(path);
    }
  }
  await put(root, 'etc/machine-id', '');
  await put(root, 'etc/hostname', `${o.hostname}\n`);
  await put(root, 'usr/lib/ostree/prepare-root.conf', PREPARE_ROOT);
  if (await exists(join(root, 'usr/sbin/sshd'))) {
    await put(root, 'usr/lib/systemd/system/treeline-ssh-keys.service', SSH_KEYS);
    await enable(root, 'treeline-ssh-keys.service', 'multi-user.target.wants');
  }
  await put(root, 'usr/lib/systemd/system/treeline-readonly-boot.service', READONLY_BOOT);
  await enable(root, 'treeline-readonly-boot.service', 'local-fs.target.wants');
  for (const timer of TIMERS) await remove(`etc/systemd/system/timers.target.wants/${timer}`);
  await enable(root, 'ostree-remount.service', 'local-fs.target.wants');
  await enable(root, 'ostree-finalize-staged.path', 'multi-user.target.wants');
  await temporaryFolder(root);
  return removed;
}

/** /tmp of a deployment would stay with it, and be the one place in it that everybody may write to. */
async function temporaryFolder(root: string): Promise<void> {
  const unit = 'usr/lib/systemd/system/tmp.mount';
  const offered = join(root, 'usr/share/systemd/tmp.mount');
  if (!(await exists(join(root, unit)))) {
    if (!(await exists(offered))) return;
    await copyFile(offered, join(root, unit));
    await chmod(join(root, unit), 0o644);
  }
  await enable(root, 'tmp.mount', 'local-fs.target.wants');
}

/**
 * Last of all: the package database into /usr, empty folders where the kernel mounts, OSTree's own links, and /etc as
 * /usr/etc.
 */
export async function arrange(root: string): Promise<void> {
  for (const name of ['boot', 'dev', 'proc', 'run', 'sys', 'tmp']) {
    await emptyFolder(join(root, name));
    await chmod(join(root, name), name === 'tmp' ? 0o1777 : 0o755);
  }
  await mkdir(join(root, 'sysroot'), { recursive: true });
  await rm(join(root, 'ostree'), { recursive: true, force: true });
  await symlink('sysroot/ostree', join(root, 'ostree'));
  await rm(join(root, 'lost+found'), { recursive: true, force: true });
  await rm(join(root, '.dockerenv'), { force: true });
  await rename(join(root, 'etc'), join(root, 'usr/etc'));
}

/** Before /var is emptied. */
export async function moveDpkg(root: string): Promise<void> {
  const from = join(root, 'var/lib/dpkg');
  const info = await lstat(from).catch(() => null);
  if (!info?.isDirectory()) return;
  await mkdir(dirname(join(root, DPKG_DATABASE)), { recursive: true });
  await rm(join(root, DPKG_DATABASE), { recursive: true, force: true });
  await rename(from, join(root, DPKG_DATABASE));
  for (const name of ['lock', 'lock-frontend', 'triggers/Lock', 'status-old', 'available-old']) {
    await rm(join(root, DPKG_DATABASE, name), { force: true });
  }
}

async function enable(root: string, unit: string, wants: string): Promise<void> {
  if (!(await exists(join(root, 'usr/lib/systemd/system', unit)))) return;
  for (const place of ['etc/systemd/system', 'usr/lib/systemd/system']) {
    if (await exists(join(root, place, wants, unit))) return;
  }
  const folder = join(root, 'etc/systemd/system', wants);
  await mkdir(folder, { recursive: true });
  await symlink(`/usr/lib/systemd/system/${unit}`, join(folder, unit));
}

async function put(root: string, path: string, text: string): Promise<void> {
  const target = join(root, path);
  if (await exists(target)) {
    const same = await readFile(target, 'utf8').catch(() => null);
    if (same === text) {
      await chmod(target, 0o644);
      return;
    }
    await rm(target, { force: true });
  }
  await mkdir(dirname(target), { recursive: true });
  await writeFile(target, text);
  await chmod(target, 0o644);
}

async function emptyFolder(path: string): Promise<void> {
  const info = await lstat(path).catch(() => null);
  if (info !== null && !info.isDirectory()) await rm(path);
  await mkdir(path, { recursive: true });
  for (const name of await readdir(path)) await rm(join(path, name), { recursive: true, force: true });
}
