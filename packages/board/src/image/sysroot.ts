import { mkdir, readdir, rm, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type Loader, ROOT_LABEL } from '../boot/loader.ts';
import { run } from '../command.ts';

/** Name of the stateroot, on every image. */
export const STATEROOT = 'treeline';

/** A remote that people's own tools follow; Treeline's agent sets up its own. */
export interface ImageRemote {
  name: string;
  url: string;
  ref: string;
  /** File with the GPG keys that sign; without one, nothing is verified. */
  gpgKeys?: string | undefined;
}

export interface SysrootOptions {
  repo: string;
  commit: string;
  loader: Loader;
  kernelArguments: readonly string[];
  remote?: ImageRemote | undefined;
  /** What goes into /var/lib/treeline/enrol.json. */
  enrolment?: string | undefined;
  signal?: AbortSignal | undefined;
}

/** What libostree is told to write for each loader, and what has to be there for it to recognise it. */
const BACKENDS: Readonly<Record<Loader, string>> = { grub: 'syslinux', uboot: 'uboot', 'systemd-boot': 'none' };

/**
 * Makes a physical sysroot with one deployment, by `ostree admin`: repository, stateroot, loader entries. Needs uid 0,
 * also one of a user namespace: files belong to whom the commit says.
 */
export async function makeSysroot(folder: string, o: SysrootOptions): Promise<void> {
  const repo = `--repo=${join(folder, 'ostree/repo')}`;
  const sysroot = `--sysroot=${folder}`;
  const ostree = (...args: string[]) => run('ostree', args, { signal: o.signal, debian: 'ostree' });
  await mkdir(folder, { recursive: true });
  await ostree('admin', 'init-fs', '--modern', folder);
  await ostree('config', repo, 'set', 'sysroot.bootloader', BACKENDS[o.loader]);
  await ostree('config', repo, 'set', 'sysroot.readonly', 'true');
  await seedLoader(join(folder, 'boot'), o.loader);
  await ostree('admin', 'os-init', sysroot, STATEROOT);
  await ostree('pull-local', repo, o.repo, o.commit);
  let origin = o.commit;
  if (o.remote !== undefined) {
    const { name, url, ref, gpgKeys } = o.remote;
    const keys = gpgKeys === undefined ? ['--no-gpg-verify'] : [`--gpg-import=${gpgKeys}`, '--set=gpg-verify=true'];
    await ostree('remote', 'add', repo, ...keys, name, url, ref);
    await ostree('refs', repo, `--create=${name}:${ref}`, o.commit);
    origin = `${name}:${ref}`;
  }
  const required = [`root=LABEL=${ROOT_LABEL}`, 'rw', 'panic=5', 'rd.shell=0', 'rd.emergency=reboot'];
  // Partitions are mounted by who needs them. systemd guesses what to mount by what systemd-boot tells it, and where no
  // UEFI started it by the partition table alone: its mount of the boot loader's partition then fails at each boot.
  if (o.loader !== 'grub') required.push('systemd.gpt_auto=0');
  const kargs = [...required, ...o.kernelArguments].map((argument) => `--karg=${argument}`);
  await ostree('admin', 'deploy', sysroot, `--os=${STATEROOT}`, ...kargs, origin);
  if (o.enrolment !== undefined) {
    const state = join(folder, 'ostree/deploy', STATEROOT, 'var/lib/treeline');
    await mkdir(state, { recursive: true, mode: 0o700 });
    await writeFile(join(state, 'enrol.json'), o.enrolment, { mode: 0o600 });
  }
  const temporary = join(folder, 'ostree/repo/tmp');
  for (const name of await readdir(temporary)) await rm(join(temporary, name), { recursive: true, force: true });
}

/** libostree writes a loader's configuration only where it finds one already. */
async function seedLoader(boot: string, loader: Loader): Promise<void> {
  await mkdir(join(boot, 'loader.0'), { recursive: true });
  await symlink('loader.0', join(boot, 'loader')).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'EEXIST') throw error;
  });
  if (loader === 'grub') {
    await mkdir(join(boot, 'syslinux'), { recursive: true });
    await symlink('../loader/syslinux.cfg', join(boot, 'syslinux/syslinux.cfg'));
    // With a timeout of 0, GRUB's reading of it would wait for somebody.
    await writeFile(join(boot, 'loader.0/syslinux.cfg'), 'TIMEOUT 1\n');
  } else if (loader === 'uboot') {
    await writeFile(join(boot, 'loader.0/uEnv.txt'), '');
    await symlink('loader/uEnv.txt', join(boot, 'uEnv.txt'));
  }
}

/** Takes a sysroot away: libostree makes the folders of deployments immutable. */
export async function removeSysroot(folder: string): Promise<void> {
  const deployments = join(folder, 'ostree/deploy', STATEROOT, 'deploy');
  for (const name of await readdir(deployments).catch(() => [])) {
    await run('chattr', ['-i', join(deployments, name)]).catch(() => {});
  }
  await rm(folder, { recursive: true, force: true });
}
