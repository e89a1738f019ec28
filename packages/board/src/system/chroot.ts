import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type CommandOptions, run } from '../command.ts';
import { BoardError } from '../errors.ts';
import { exists, type MachineArchitecture, type Problem } from './inspect.ts';

/**
 * Device nodes and /proc come from mounts of a mount namespace that ends with the command. Where none can be made (a
 * sandbox that gives no mounts), plain files stand in for /dev/null and the like, and /proc stays empty: what runs
 * here can do without. Nothing is ever mounted where others would see it.
 */
const ENTER = `
root=$1 mounts=$2; shift 2
if [ "$mounts" = yes ]; then
  mount -t tmpfs -o mode=755 dev "$root/dev" || exit 125
  for node in null zero full random urandom tty; do
    [ -e "/dev/$node" ] || continue
    : > "$root/dev/$node" && mount --bind "/dev/$node" "$root/dev/$node" || exit 125
  done
  ln -s /proc/self/fd "$root/dev/fd"
  mount -t proc proc "$root/proc" 2>/dev/null || mount --rbind /proc "$root/proc" 2>/dev/null || :
else
  for node in null zero full; do
    [ -e "$root/dev/$node" ] || : > "$root/dev/$node"
  done
fi
exec chroot "$root" "$@"
`;

/** Runs a program of a root file system in it, with an environment of its own. Needs uid 0, also one of a user namespace. */
export async function runInRoot(
  root: string,
  command: readonly string[],
  o: { env?: Record<string, string>; signal?: AbortSignal | undefined } = {},
): Promise<string> {
  const environment = Object.entries({
    PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
    LC_ALL: 'C.UTF-8',
    HOME: '/',
    TMPDIR: '/tmp',
    ...o.env,
  }).map(([name, value]) => `${name}=${value}`);
  const options: CommandOptions = { signal: o.signal };
  const inside = ['/usr/bin/env', '-i', ...environment, ...command];
  if (await canMount(o.signal)) {
    const unshare = ['--mount', '--propagation', 'private', '--', 'sh', '-c', ENTER, 'sh', root, 'yes', ...inside];
    return await run('unshare', unshare, options);
  }
  return await run('sh', ['-c', ENTER, 'sh', root, 'no', ...inside], options);
}

async function canMount(signal: AbortSignal | undefined): Promise<boolean> {
  const probe = 'mount -t tmpfs probe /tmp && mount --bind /dev/null /dev/null';
  return run('unshare', ['--mount', '--propagation', 'private', '--', 'sh', '-c', probe], { signal }).then(
    () => true,
    (error: unknown) => {
      if (error instanceof BoardError) return false;
      throw error;
    },
  );
}

/**
 * What keeps this machine from running the programs of a root file system; nothing, as a rule.
 *
 * @param architecture what they were made for
 */
export async function obstacles(root: string, architecture: MachineArchitecture): Promise<Problem[]> {
  if (process.getuid?.() !== 0) {
    return [
      {
        what: 'this process is not root, and programs of the system have to run inside it',
        hint: 'use sudo, or `unshare --user --map-auto --map-root-user` (packages uidmap and util-linux)',
      },
    ];
  }
  const here = process.arch === 'arm64' ? 'aarch64' : process.arch === 'x64' ? 'x86_64' : process.arch;
  if (here === architecture || (await canRun(root))) return [];
  const state = await readFile(`/proc/sys/fs/binfmt_misc/qemu-${architecture}`, 'utf8').catch(() => null);
  const hints = [
    'apt-get install qemu-user-static binfmt-support',
    'mount -t binfmt_misc binfmt_misc /proc/sys/fs/binfmt_misc (in a container)',
    `update-binfmts --enable qemu-${architecture}`,
  ];
  return [
    {
      what:
        state === null
          ? `its programs are for ${architecture}, this machine is ${here}, and the kernel knows no emulator for them`
          : `its programs are for ${architecture}, and the emulator that the kernel has for them does not start`,
      hint: hints.join('; '),
    },
  ];
}

async function canRun(root: string): Promise<boolean> {
  for (const program of ['/usr/bin/true', '/bin/true']) {
    if (!(await exists(join(root, program)))) continue;
    return run('chroot', [root, program]).then(
      () => true,
      () => false,
    );
  }
  return false;
}
