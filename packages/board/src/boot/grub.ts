import { mkdir, stat, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { run } from '../command.ts';
import { BoardError } from '../errors.ts';
import type { MachineArchitecture } from '../system/inspect.ts';
import { BOOT_TRIES, ROOT_LABEL } from './loader.ts';

/** Size of GRUB's environment block: it is read and written as a whole, in place. */
const GRUBENV_BYTES = 1024;

const TARGETS: Readonly<Record<MachineArchitecture, { target: string; file: string; debian: string }>> = {
  x86_64: { target: 'x86_64-efi', file: 'BOOTX64.EFI', debian: 'grub-efi-amd64-bin' },
  aarch64: { target: 'arm64-efi', file: 'BOOTAA64.EFI', debian: 'grub-efi-arm64-bin' },
};

/** Few, because all of them are loaded at each boot; `efi_gop` and the like would show a menu that nobody sees. */
const MODULES =
  'memdisk tar part_gpt ext2 fat search search_label probe syslinuxcfg loadenv test regexp normal linux boot echo reboot sleep minicmd';

/**
 * GRUB's configuration. GRUB has no arithmetic, hence the chain; Debian's has no `blscfg`, hence the syslinux.cfg that
 * libostree writes. Entry 0 is the newest deployment, entry 1 the one before it.
 *
 * Counted is only while `boot_success` is not 1 and there is a counter. What cannot be written down cannot be counted:
 * then the old system is the safe choice. An entry whose kernel cannot be loaded falls through to the other.
 */
function grubConfig(): string {
  const chain: string[] = [];
  for (let left = BOOT_TRIES; left > 0; left--) {
    chain.push(
      `  ${left === BOOT_TRIES ? 'if' : 'elif'} [ "$boot_counter" = ${left} ]; then set boot_counter=${left - 1}`,
    );
  }
  return `regexp --set=1:esp '^\\(([^)]*)\\)' "$cmdpath"
regexp --set=1:disk '^([^,]*),' "$esp"
set sys="$disk,gpt2"
probe --set=label --label "($sys)"
if [ "$label" != ${ROOT_LABEL} ]; then search --no-floppy --label ${ROOT_LABEL} --set=sys; fi
set boot_success=
set boot_counter=
load_env -f "($esp)/grubenv" boot_success boot_counter
set pick=0
if [ "$boot_success" != 1 -a -n "$boot_counter" ]; then
${chain.join('\n')}
  else set boot_counter=0; set pick=1; fi
  if save_env -f "($esp)/grubenv" boot_counter; then set saved=1; else set pick=1; fi
  echo "treeline: an update is on trial, boots left after this one: $boot_counter, entry $pick"
fi
set root="$sys"
syslinux_source -r "($sys)/boot" "($sys)/boot/loader/syslinux.cfg"
set timeout=0
set default=$pick
set fallback=1
`;
}

/** A grubenv as `grub-editenv` writes it: a line each, filled up with #. */
export function grubEnvironment(values: Readonly<Record<string, string>>): Buffer {
  const lines = Object.entries(values).map(([name, value]) => `${name}=${value}\n`);
  const text = `# GRUB Environment Block\n${lines.join('')}`;
  return Buffer.from(text.padEnd(GRUBENV_BYTES, '#'));
}

/**
 * Makes GRUB as one EFI program with its configuration inside: nothing on the disk can be lost that it needs to count.
 *
 * @param folder for files in between
 * @returns where it goes on the FAT partition, and the file
 * @throws BoardError `tool-missing`
 */
export async function makeGrub(
  architecture: MachineArchitecture,
  folder: string,
  signal?: AbortSignal,
): Promise<{ to: string; from: string }> {
  const { target, file, debian } = TARGETS[architecture];
  const modules = `/usr/lib/grub/${target}`;
  if (!(await stat(modules).catch(() => null))?.isDirectory()) {
    throw new BoardError('tool-missing', `GRUB's modules are missing: ${modules}`, {
      hint: `apt-get install ${debian}`,
    });
  }
  const config = join(folder, 'boot/grub/grub.cfg');
  const memdisk = join(folder, 'memdisk.tar');
  const output = join(folder, file);
  await mkdir(dirname(config), { recursive: true });
  await writeFile(config, grubConfig());
  // Not grub-mkstandalone, which does the same and writes the time into it.
  const owner = ['--owner=0', '--group=0', '--numeric-owner', '--mode=0644', '--mtime=@0', '--format=ustar'];
  await run('tar', ['--create', `--file=${memdisk}`, ...owner, '--directory', folder, 'boot/grub/grub.cfg'], {
    signal,
  });
  const prefix = ['--prefix=(memdisk)/boot/grub', `--memdisk=${memdisk}`, `--directory=${modules}`];
  await run('grub-mkimage', [`--format=${target}`, ...prefix, `--output=${output}`, ...MODULES.split(' ')], {
    signal,
    debian: 'grub-common',
  });
  return { to: `EFI/BOOT/${file}`, from: output };
}
