import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { run } from '../command.ts';
import type { MachineArchitecture } from '../system/inspect.ts';
import { BOOT_TRIES } from './loader.ts';

/** The count, as `env export -t` writes it and `env import -t` reads it. */
export function ubootEnvironment(values: Readonly<Record<string, string | number>>): string {
  const lines = Object.entries(values).map(([name, value]) => `${name}=${value}\n`);
  return lines.join('');
}

/**
 * The script that U-Boot's standard boot finds as `boot.scr` on the FAT partition: it needs nothing of U-Boot's own
 * bootcount, which many builds lack, and nothing of U-Boot's stored environment, which many boards share with others.
 *
 * OSTree writes `uEnv.txt`: the newest deployment as `kernel_image`, `ramdisk_image`, `bootargs`, the one before it
 * with a 2 at the end. What cannot be written down cannot be counted: then the old system is the safe choice.
 *
 * @param deviceTree `firmware`, or a file below the folder of device trees that the deployment brings
 */
function ubootScript(deviceTree: string): string {
  const own =
    deviceTree === 'firmware'
      ? ''
      : `if test -n "\${d}"; then
  if load \${devtype} \${devnum}:2 \${fdt_addr_r} \${prefix}\${d}/${deviceTree}; then setenv fdt \${fdt_addr_r}; fi
fi
`;
  return `test -n "\${devtype}" || setenv devtype virtio
test -n "\${devnum}" || setenv devnum 0
test -n "\${distro_bootpart}" || setenv distro_bootpart 1
setenv buffer \${scriptaddr}
test -n "\${buffer}" || setenv buffer \${kernel_addr_r}
setexpr buffer \${buffer} + 0x10000
setenv esp \${devtype} \${devnum}:\${distro_bootpart}
setenv upgrade_available 0
setenv bootcount 0
if fatload \${esp} \${buffer} uboot.env; then env import -t \${buffer} \${filesize} upgrade_available bootcount; fi
setenv pick 1
if test "\${upgrade_available}" = 1; then
  if test \${bootcount} -lt ${BOOT_TRIES + 1}; then setexpr bootcount \${bootcount} + 1; fi
  if test \${bootcount} -gt ${BOOT_TRIES}; then setenv pick 2; fi
  env export -t \${buffer} upgrade_available bootcount
  if fatwrite \${esp} \${buffer} uboot.env \${filesize}; then true; else setenv pick 2; fi
  echo "treeline: an update is on trial, boot \${bootcount} of ${BOOT_TRIES}, entry \${pick}"
fi
load \${devtype} \${devnum}:2 \${buffer} /boot/loader/uEnv.txt
env import -t \${buffer} \${filesize}
if test "\${pick}" = 2 && test -z "\${kernel_image2}"; then setenv pick 1; fi
setenv prefix /boot
if test -e \${devtype} \${devnum}:2 \${kernel_image}; then setenv prefix; fi
if test -n "\${fdt_addr}"; then setenv fdt \${fdt_addr}; else setenv fdt \${fdtcontroladdr}; fi
setenv k \${kernel_image}; setenv r \${ramdisk_image}; setenv a "\${bootargs}"; setenv d "\${fdtdir}"
if test "\${pick}" = 2; then setenv k \${kernel_image2}; setenv r \${ramdisk_image2}; setenv a "\${bootargs2}"; setenv d "\${fdtdir2}"; fi
${own}setenv bootargs "\${a}"
if load \${devtype} \${devnum}:2 \${kernel_addr_r} \${prefix}\${k} && load \${devtype} \${devnum}:2 \${ramdisk_addr_r} \${prefix}\${r}; then
  booti \${kernel_addr_r} \${ramdisk_addr_r}:\${filesize} \${fdt}
fi
if test "\${pick}" = 1 && test -n "\${kernel_image2}"; then
  echo "treeline: the newest deployment cannot be loaded, taking the one before it"
  setenv bootargs "\${bootargs2}"
  if load \${devtype} \${devnum}:2 \${kernel_addr_r} \${prefix}\${kernel_image2} && load \${devtype} \${devnum}:2 \${ramdisk_addr_r} \${prefix}\${ramdisk_image2}; then
    booti \${kernel_addr_r} \${ramdisk_addr_r}:\${filesize} \${fdt}
  fi
fi
sleep 5
reset
`;
}

/** Makes `boot.scr` by U-Boot's mkimage. */
export async function makeUbootScript(
  architecture: MachineArchitecture,
  deviceTree: string,
  folder: string,
  signal?: AbortSignal,
): Promise<{ to: string; from: string }> {
  const source = join(folder, 'boot.cmd');
  const output = join(folder, 'boot.scr');
  await writeFile(source, ubootScript(deviceTree));
  const machine = architecture === 'aarch64' ? 'arm64' : 'x86_64';
  const flags = ['-A', machine, '-O', 'linux', '-T', 'script', '-C', 'none', '-n', 'treeline'];
  await run('mkimage', [...flags, '-d', source, output], {
    signal,
    env: { SOURCE_DATE_EPOCH: '0' },
    debian: 'u-boot-tools',
  });
  return { to: 'boot.scr', from: output };
}
