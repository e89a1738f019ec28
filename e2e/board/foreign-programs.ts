import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';

const PLACE = '/proc/sys/fs/binfmt_misc';

/** Names of this machine's architecture as `uname -m` says them. */
const HERE: Readonly<Record<string, string>> = { x64: 'x86_64', arm64: 'aarch64' };

/**
 * Makes sure that the kernel runs programs of an architecture, also in a container of their own: a Debian for it is
 * installed by its own programs. The packages register the emulator where systemd runs; in a container nobody has, and
 * this does it, by `sudo -n` if it is not root. What is registered stays until the machine is switched off.
 *
 * @throws Error that says what to do, where it cannot be registered
 */
export function enableForeignPrograms(architecture: string): void {
  if (HERE[process.arch] === architecture) return;
  const entry = `${PLACE}/qemu-${architecture}`;
  const steps: string[][] = [];
  // The file is the kernel's own, and there as soon as the file system is mounted.
  if (!existsSync(`${PLACE}/register`)) steps.push(['mount', '-t', 'binfmt_misc', 'binfmt_misc', PLACE]);
  if (!isEnabled(entry)) steps.push(['update-binfmts', '--enable', `qemu-${architecture}`]);
  const said: string[] = [];
  for (const step of steps) {
    const command = process.getuid?.() === 0 ? step : ['sudo', '-n', ...step];
    const result = spawnSync(command[0]!, command.slice(1), {
      encoding: 'utf8',
      env: { ...process.env, PATH: `${process.env.PATH ?? ''}:/usr/sbin:/sbin` },
    });
    const output = (result.error?.message ?? result.stderr).trim();
    if (output !== '') said.push(output);
  }
  if (isEnabled(entry)) return;
  throw new Error(
    [
      `the kernel does not run programs made for ${architecture}, and a Debian for it has to be installed`,
      ...said,
      'Run this as root, outside of a container if it is refused there, then try again:',
      ...steps.map((step) => `  ${step.join(' ')}`),
    ].join('\n'),
  );
}

/** F: the kernel has opened the emulator already, so that it is found from inside of any root file system. */
function isEnabled(entry: string): boolean {
  if (!existsSync(entry)) return false;
  const text = readFileSync(entry, 'utf8');
  return text.startsWith('enabled') && /^flags: .*F/m.test(text);
}
