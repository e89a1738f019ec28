import { chmod, mkdir, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { ESP_LABEL, LOADERS, type Loader } from './loader.ts';

/** Where a tree says which boot loader it is made for. */
export const BOOT_FACTS = 'usr/lib/treeline/boot.json';

/** What a tree says about its boot loader; the agent reads it. */
export interface BootFacts {
  version: 1;
  loader: Loader;
  /** The partition of the boot loader's own files, as `mount` and `findfs` take it. */
  esp: string;
}

/** A kernel that cannot go on boots again: only then does the boot loader count. */
const SYSCTL = `# A kernel that cannot go on must boot again, so that the boot loader counts and falls back.
kernel.panic = 10
kernel.panic_on_oops = 1
# A task that waits for a device for five minutes: nothing that runs after it will end, not even a shutdown.
kernel.hung_task_timeout_secs = 300
kernel.hung_task_panic = 1
`;

/** systemd feeds the watchdog, and opens it as soon as there is one. */
const WATCHDOG = `# A system that hangs is reset by the hardware, and counted by the boot loader as a boot that was not good.
[Manager]
RuntimeWatchdogSec=60s
RebootWatchdogSec=5min
`;

/**
 * The kernel's own watchdog does for a hang of user space what the hardware's does. Debian's kernels for clouds have no
 * driver of a real one. Not before udev has looked at all devices: systemd takes the first watchdog that comes.
 */
const SOFTDOG = `[Unit]
Description=Watchdog of the kernel, where the hardware has none
DefaultDependencies=no
After=systemd-modules-load.service systemd-udev-trigger.service
Conflicts=shutdown.target
Before=shutdown.target

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=-/bin/sh -c 'udevadm settle --timeout=30; [ -e /dev/watchdog0 ] || modprobe --quiet softdog'
`;

const WANT_SOFTDOG = `[Unit]
Wants=treeline-softdog.service
`;

/** When a unit that everything depends on fails, a shell on a console that nobody sees does not help. */
const EMERGENCY = `# Nobody sits at the console: boot again, and let the boot loader count.
[Service]
ExecStart=
ExecStart=-/bin/sh -c 'echo "treeline: emergency mode, rebooting in 30 seconds" > /dev/console; sleep 30; systemctl --force reboot'
`;

/**
 * The files of the layer \`treeline/boot\` for one boot loader, by path. Modes are 0644.
 *
 * Not here: what the agent does when it arms or clears the count, and the deadline for a boot on trial. Those are the
 * layer \`treeline/agent\`.
 */
export function bootLayerFiles(loader: Loader): Record<string, string> {
  const facts: BootFacts = { version: 1, loader, esp: `PARTLABEL=${ESP_LABEL}` };
  return {
    [BOOT_FACTS]: `${JSON.stringify(facts)}\n`,
    'usr/lib/sysctl.d/60-treeline-boot.conf': SYSCTL,
    'usr/lib/systemd/system.conf.d/60-treeline-watchdog.conf': WATCHDOG,
    'usr/lib/systemd/system/treeline-softdog.service': SOFTDOG,
    'usr/lib/systemd/system/sysinit.target.d/60-treeline-softdog.conf': WANT_SOFTDOG,
    'usr/lib/systemd/system/emergency.service.d/60-treeline-reboot.conf': EMERGENCY,
  };
}

/**
 * Writes the tree of the artifact `treeline/boot`: a folder for each boot loader, each laid out from `/`, to be composed
 * onto a system as a layer (`treeline/boot` at `/grub`).
 */
export async function writeBootLayers(folder: string): Promise<void> {
  for (const loader of LOADERS) {
    for (const [path, text] of Object.entries(bootLayerFiles(loader))) {
      const target = join(folder, loader, path);
      await mkdir(dirname(target), { recursive: true, mode: 0o755 });
      await writeFile(target, text);
      await chmod(target, 0o644);
    }
  }
}
