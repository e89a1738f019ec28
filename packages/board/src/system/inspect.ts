import { lstat, open, readdir, readFile, readlink, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { BoardError } from '../errors.ts';

/** Names as `uname -m` says them. */
export type MachineArchitecture = 'x86_64' | 'aarch64';

/** A root file system, as far as it matters for making it boot. */
export interface Inspected {
  /** It is an OSTree tree already. */
  done: boolean;
  /** `ID` and `VERSION_ID` of os-release, such as `debian 12`. */
  name: string;
  architecture: MachineArchitecture;
  kernel: string;
  initramfsTool: 'initramfs-tools' | 'dracut';
}

/** One thing that is missing or wrong, and what brings it. */
export interface Problem {
  what: string;
  hint: string;
}

/** For who named something else. */
export const SOURCE_HINT = 'Give the folder or tar that mmdebstrap, debootstrap or the like wrote.';

const TREES = ['bin', 'sbin', 'lib'];
/** e_machine of ELF headers. */
const ELF_MACHINES: Readonly<Record<number, MachineArchitecture>> = { 62: 'x86_64', 183: 'aarch64' };

/**
 * Looks at a root file system and says what it is, having found nothing that is missing. It changes nothing.
 *
 * @param kernel the version that is wanted; needed where there are several
 * @throws BoardError `system-incomplete` with everything that is missing, one a line
 */
export async function inspectSystem(root: string, o: { kernel?: string | undefined } = {}): Promise<Inspected> {
  const has = (path: string) => exists(join(root, path));
  if (!(await has('usr'))) {
    throw new BoardError('invalid', `${root} is no root file system: there is no usr in it`, {
      hint: SOURCE_HINT,
    });
  }
  const problems: Problem[] = [];
  const demand = async (paths: readonly string[], what: string, hint: string) => {
    for (const path of paths) if (await has(path)) return;
    problems.push({ what, hint });
  };
  const done = (await has('usr/etc')) && !(await has('etc'));
  const apart: string[] = [];
  for (const name of TREES) {
    const target = await readlink(join(root, name)).catch(() => null);
    if (target !== `usr/${name}` && target !== `/usr/${name}`) apart.push(`/${name}`);
  }
  if (apart.length > 0) {
    problems.push({
      what: `${apart.join(', ')}: no link into /usr, which alone is updated as a whole`,
      hint: 'apt-get install usrmerge, or use a release that has /usr merged',
    });
  }
  const etc = done ? 'usr/etc' : 'etc';
  await demand([`${etc}/passwd`], 'there is no /etc/passwd', 'the base system is not installed');
  await demand(['usr/lib/systemd/systemd'], 'systemd is not installed', 'apt-get install systemd');
  await demand(['usr/sbin/init'], 'there is no /sbin/init', 'apt-get install systemd-sysv');
  await demand(['usr/lib/systemd/systemd-udevd', 'usr/bin/udevadm'], 'udev is not installed', 'apt-get install udev');
  await demand(['usr/bin/ostree'], 'ostree is not installed', 'apt-get install ostree');
  await demand(
    ['usr/lib/ostree/ostree-prepare-root'],
    'ostree-prepare-root is missing, which finds the deployment at boot',
    'apt-get install ostree-boot',
  );
  await demand(['usr/sbin/modprobe', 'usr/bin/kmod'], 'modprobe is missing', 'apt-get install kmod');
  await demand(
    ['usr/sbin/fsck.ext4', 'usr/bin/fsck.ext4'],
    'fsck.ext4 is missing, which repairs the root file system after a power cut',
    'apt-get install e2fsprogs',
  );
  const kernel = await findKernel(root, o.kernel, problems);
  const initramfsTool = (await has('usr/sbin/mkinitramfs'))
    ? 'initramfs-tools'
    : (await has('usr/bin/dracut')) || (await has('usr/sbin/dracut'))
      ? 'dracut'
      : undefined;
  if (!done && initramfsTool === undefined) {
    problems.push({ what: 'nothing makes an initramfs', hint: 'apt-get install initramfs-tools (or dracut)' });
  } else if (!done && initramfsTool === 'dracut' && !(await hasDracutModule(root))) {
    problems.push({ what: "dracut's module ostree is missing", hint: 'apt-get install ostree-boot' });
  }
  const architecture = await findArchitecture(root, problems);
  if (done && kernel !== undefined && !(await has(`usr/lib/modules/${kernel}/initramfs.img`))) {
    problems.push({
      what: `there is no initramfs beside the kernel ${kernel}, and /etc is /usr/etc already`,
      hint: 'Start from the root file system that the distribution made.',
    });
  }
  if (problems.length > 0 || kernel === undefined || architecture === undefined) throw incomplete(root, problems);
  return { done, name: await osName(root), architecture, kernel, initramfsTool: initramfsTool ?? 'initramfs-tools' };
}

/** Its number is its place among the others, and has changed. */
async function hasDracutModule(root: string): Promise<boolean> {
  const names = await readdir(join(root, 'usr/lib/dracut/modules.d')).catch((): string[] => []);
  return names.some((name) => /^\d+ostree$/.test(name));
}

/** Everything at once: to install one package after the other takes an afternoon. */
export function incomplete(root: string, problems: readonly Problem[]): BoardError {
  const lines = problems.map(({ what, hint }) => `  ${what} (${hint})`);
  const count = problems.length === 1 ? 'something is' : `${problems.length} things are`;
  return new BoardError(
    'system-incomplete',
    `${root} cannot be made a system that boots: ${count} missing or wrong\n${lines.join('\n')}`,
    { hint: 'Nothing was changed. Install what is named into the root file system, then try again.' },
  );
}

async function findKernel(root: string, wanted: string | undefined, problems: Problem[]): Promise<string | undefined> {
  const modules = join(root, 'usr/lib/modules');
  const versions: string[] = [];
  const found = await readdir(modules).catch((): string[] => []);
  for (const version of found.sort()) {
    const image = [join(root, `boot/vmlinuz-${version}`), join(modules, version, 'vmlinuz')];
    if ((await exists(image[0]!)) || (await exists(image[1]!))) versions.push(version);
  }
  if (wanted !== undefined) {
    if (versions.includes(wanted)) return wanted;
    problems.push({ what: `there is no kernel ${wanted}`, hint: `there are: ${versions.join(', ') || 'none'}` });
    return undefined;
  }
  if (versions.length === 1) return versions[0];
  problems.push(
    versions.length === 0
      ? {
          what: 'there is no kernel: no /boot/vmlinuz-VERSION with modules in /usr/lib/modules/VERSION',
          hint: 'apt-get install linux-image-amd64, linux-image-cloud-amd64 or linux-image-arm64',
        }
      : {
          what: `there are several kernels: ${versions.join(', ')}`,
          hint: 'an OSTree tree has one: say which by --kernel, or remove the others',
        },
  );
  return undefined;
}

async function findArchitecture(root: string, problems: Problem[]): Promise<MachineArchitecture | undefined> {
  for (const program of ['usr/bin/ostree', 'usr/lib/systemd/systemd', 'usr/bin/sh', 'usr/bin/dash']) {
    const path = join(root, program);
    const header = await elfHeader(path);
    if (header === undefined) continue;
    const found = ELF_MACHINES[header.readUInt16LE(18)];
    if (found !== undefined) return found;
    problems.push({
      what: `its programs are for another machine (ELF machine ${header.readUInt16LE(18)})`,
      hint: 'x86_64 and aarch64 are known here',
    });
    return undefined;
  }
  problems.push({ what: 'there is no program in it that could be run', hint: 'the base system is not installed' });
  return undefined;
}

async function elfHeader(path: string): Promise<Buffer | undefined> {
  const info = await stat(path).catch(() => null);
  if (info === null || !info.isFile()) return undefined;
  const file = await open(path, 'r');
  try {
    const header = Buffer.alloc(20);
    const { bytesRead } = await file.read(header, 0, 20, 0);
    return bytesRead === 20 && header.readUInt32BE(0) === 0x7f454c46 ? header : undefined;
  } finally {
    await file.close();
  }
}

async function osName(root: string): Promise<string> {
  const text =
    (await readFile(join(root, 'usr/lib/os-release'), 'utf8').catch(() => null)) ??
    (await readFile(join(root, 'etc/os-release'), 'utf8').catch(() => ''));
  const value = (key: string) => new RegExp(`^${key}="?([^"\\n]*)"?$`, 'm').exec(text)?.[1];
  return [value('ID') ?? 'linux', value('VERSION_ID')].filter((word) => word !== undefined).join(' ');
}

export async function exists(path: string): Promise<boolean> {
  return lstat(path).then(
    () => true,
    () => false,
  );
}
