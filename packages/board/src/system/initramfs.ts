import { chmod, cp, mkdir, rm, symlink, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { BoardError } from '../errors.ts';
import { runInRoot } from './chroot.ts';
import { exists, type Inspected } from './inspect.ts';

export interface InitramfsOptions {
  /** Only these modules and what they need, instead of what the distribution would take: smaller, and starts sooner. */
  modules?: readonly string[] | undefined;
  signal?: AbortSignal | undefined;
}

const HOOK = `#!/bin/sh
[ "$1" = prereqs ] && exit 0
. /usr/share/initramfs-tools/hook-functions
copy_exec /usr/lib/ostree/ostree-prepare-root /usr/lib/ostree/ostree-prepare-root
for file in /usr/lib/ostree/prepare-root.conf /etc/ostree/prepare-root.conf; do
  [ ! -e "$file" ] || copy_file config "$file"
done
manual_add_modules ext4 overlay MODULES_OF_BOARD
`;

/**
 * After the root file system is mounted and before anybody looks into it. What goes wrong here must not end in a shell
 * that nobody sees: \`panic\` reboots when the kernel argument panic= is set, and then the boot loader counts.
 */
const SCRIPT = `#!/bin/sh
[ "$1" = prereqs ] && exit 0
. /scripts/functions
case " $(cat /proc/cmdline)" in *" ostree="*) ;; *) exit 0 ;; esac
/usr/lib/ostree/ostree-prepare-root "\${rootmnt}" || panic "ostree-prepare-root failed: there is no deployment to boot"
`;

/** Without an init, initramfs-tools would start /bin/sh and wait for somebody to type. */
const INIT_SCRIPT = `#!/bin/sh
[ "$1" = prereqs ] && { echo udev; exit 0; }
. /scripts/functions
run-init -n "\${rootmnt}" "\${init}" || panic "the deployment has no init"
`;

/**
 * dracut's initramfs runs systemd, which, when it can start no init, starts /bin/sh or stays as it is, for ever. So it is
 * tried before; what crashes all the same reboots (`CrashAction` of systemd 256 and newer is known by the older name, too).
 */
const DRACUT_FILES: Readonly<Record<string, string>> = {
  // dracut would wait for the root file system without end: an initramfs without the driver could not be left.
  'etc/cmdline.d/60-treeline.conf': 'rd.timeout=90\n',
  'etc/systemd/system.conf.d/60-treeline.conf': '[Manager]\nCrashReboot=yes\n',
  'etc/systemd/system/treeline-init.service': `[Unit]
Description=Look whether the deployment has an init
DefaultDependencies=no
ConditionPathExists=/run/ostree-booted
After=initrd-root-fs.target ostree-prepare-root.service initrd-parse-etc.service
Before=initrd-cleanup.service

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/sh -c 'chroot /sysroot /usr/lib/systemd/systemd --version >/dev/null && exit 0; \\
  echo "the deployment has no init" >/dev/console; systemctl --force --force reboot'
`,
};
const DRACUT_WANTED = 'etc/systemd/system/initrd.target.wants/treeline-init.service';

/**
 * Makes the initramfs beside the kernel, with what finds the deployment in it. Its files have no times, and nothing
 * of this machine goes in: the same root file system gives the same bytes.
 */
export async function makeInitramfs(root: string, found: Inspected, o: InitramfsOptions): Promise<void> {
  const output = `usr/lib/modules/${found.kernel}/initramfs.img`;
  await rm(join(root, output), { force: true });
  const env = { SOURCE_DATE_EPOCH: '0' };
  if (found.initramfsTool === 'dracut') {
    await withDracut(root, found.kernel, output, env, o);
  } else {
    await withInitramfsTools(root, found.kernel, output, env, o);
  }
  if (await exists(join(root, output))) return;
  throw new BoardError('tool-failed', `${found.initramfsTool} ended well and wrote no initramfs`);
}

async function withDracut(
  root: string,
  kernel: string,
  output: string,
  env: Record<string, string>,
  o: InitramfsOptions,
): Promise<void> {
  const name = 'tmp/treeline-initramfs';
  const folder = join(root, name);
  await rm(folder, { recursive: true, force: true });
  try {
    await writeFiles(folder, DRACUT_FILES, 0o644);
    await mkdir(dirname(join(folder, DRACUT_WANTED)), { recursive: true });
    await symlink('../treeline-init.service', join(folder, DRACUT_WANTED));
    const flags = ['--force', '--no-hostonly', '--no-hostonly-cmdline', '--reproducible', '--add', 'ostree'];
    const drivers = o.modules === undefined ? [] : ['--drivers', ['ext4', ...o.modules].join(' ')];
    const files = ['--include', `/${name}`, '/', '--install', 'chroot'];
    await runInRoot(root, ['dracut', ...flags, ...drivers, ...files, '--kver', kernel, `/${output}`], {
      // Only root could make device nodes, and the result must not depend on who made it. Nothing needs them.
      env: { ...env, DRACUT_NO_MKNOD: '1' },
      signal: o.signal,
    });
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

async function withInitramfsTools(
  root: string,
  kernel: string,
  output: string,
  env: Record<string, string>,
  o: InitramfsOptions,
): Promise<void> {
  // A configuration of its own: what is added for this one initramfs does not stay in the system's /etc.
  const name = 'tmp/treeline-initramfs';
  const folder = join(root, name);
  await mkdir(join(root, 'tmp'), { recursive: true });
  await rm(folder, { recursive: true, force: true });
  try {
    await cp(join(root, 'etc/initramfs-tools'), folder, { recursive: true, verbatimSymlinks: true });
    const added = {
      'hooks/ostree': HOOK.replace('MODULES_OF_BOARD', (o.modules ?? []).join(' ')),
      'scripts/local-bottom/ostree': SCRIPT,
      'scripts/init-bottom/treeline': INIT_SCRIPT,
    };
    await writeFiles(folder, added, 0o755);
    await mkdir(join(folder, 'conf.d'), { recursive: true });
    // The swap and the file systems of the machine that builds say nothing about the one that boots.
    const settings = ['RESUME=none', 'FSTYPE=ext4', ...(o.modules === undefined ? [] : ['MODULES=list'])];
    await writeFile(join(folder, 'conf.d/treeline'), `${settings.join('\n')}\n`);
    // It asks the kernel's configuration which compression it can read.
    const config = join(root, 'boot', `config-${kernel}`);
    const kept = join(root, 'usr/lib/modules', kernel, 'config');
    if (!(await exists(config)) && (await exists(kept))) await cp(kept, config);
    await runInRoot(root, ['mkinitramfs', '-d', `/${name}`, '-o', `/${output}`, kernel], { env, signal: o.signal });
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

async function writeFiles(folder: string, files: Readonly<Record<string, string>>, mode: number): Promise<void> {
  for (const [path, text] of Object.entries(files)) {
    await mkdir(dirname(join(folder, path)), { recursive: true });
    await writeFile(join(folder, path), text);
    await chmod(join(folder, path), mode);
  }
}
