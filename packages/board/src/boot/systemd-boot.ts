import { readdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { BoardError } from '../errors.ts';
import { insideOf } from '../image/board-files.ts';
import type { FatFile } from '../image/fat.ts';
import type { MachineArchitecture } from '../system/inspect.ts';

const PROGRAMS: Readonly<Record<MachineArchitecture, { from: string; to: string }>> = {
  x86_64: { from: 'usr/lib/systemd/boot/efi/systemd-bootx64.efi', to: 'BOOTX64.EFI' },
  aarch64: { from: 'usr/lib/systemd/boot/efi/systemd-bootaa64.efi', to: 'BOOTAA64.EFI' },
};

/**
 * What systemd-boot needs on the EFI system partition: itself, its settings, and copies of the deployment's kernel,
 * initramfs and entry, because it reads FAT only, and FAT has no links. The agent keeps the copies up to date.
 *
 * @param deployment root of the deployment: the program comes from the system, or from this machine
 * @param boot the sysroot's /boot
 */
export async function systemdBootFiles(
  architecture: MachineArchitecture,
  deployment: string,
  boot: string,
): Promise<FatFile[]> {
  const program = PROGRAMS[architecture];
  const here = `/${program.from}`;
  const from =
    (await insideOf(deployment, here)) ?? ((await stat(here).catch(() => null))?.isFile() ? here : undefined);
  if (from === undefined) {
    throw new BoardError(
      'tool-missing',
      `systemd-boot is missing: /${program.from} is neither in the system nor here`,
      {
        hint: 'apt-get install systemd-boot-efi',
      },
    );
  }
  const files: FatFile[] = [
    { from, to: `EFI/BOOT/${program.to}` },
    { content: 'timeout 0\neditor no\n', to: 'loader/loader.conf' },
  ];
  for (const name of await readdir(join(boot, 'loader/entries'))) {
    const text = await readFile(join(boot, 'loader/entries', name), 'utf8');
    // Depending on its settings libostree says where a kernel is from the root of the disk or of the boot partition.
    // libostree adds the stateroot to the name. The agent names its copies by their place, and replaces this one by its own.
    const to = `loader/entries/${name.replace(/^(ostree-\d+)-.*\.conf$/, '$1.conf')}`;
    files.push({ content: text.replace(/^(linux|initrd) \/boot\//gm, '$1 /'), to });
    for (const [, , path] of text.matchAll(/^(linux|initrd) (?:\/boot)?\/(\S+)$/gm)) {
      // Deployments with the same kernel share it.
      if (files.every((file) => file.to !== path)) files.push({ from: join(boot, path!), to: path! });
    }
  }
  return files;
}
