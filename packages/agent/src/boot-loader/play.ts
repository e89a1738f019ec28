import { readdir, readFile, rename } from 'node:fs/promises';
import { join } from 'node:path';
import { BOOT_TRIES, type BootLoaderKind } from './boot-loader.ts';
import { overwrite } from './esp.ts';
import { formatGrubEnv, parseGrubEnv } from './grub.ts';
import { formatUbootEnv, parseUbootEnv } from './uboot.ts';

/**
 * Does to a folder that plays the EFI system partition what the boot loaders' own scripts do at a boot, and returns
 * which entry is booted: 0 the first, 1 the second. A board that is a folder has nobody else who would.
 */
export async function playBoot(kind: BootLoaderKind, esp: string): Promise<0 | 1> {
  if (kind === 'grub') return playGrub(join(esp, 'grubenv'));
  if (kind === 'uboot') return playUboot(join(esp, 'uboot.env'));
  return kind === 'systemd-boot' ? playSystemdBoot(join(esp, 'loader/entries')) : 0;
}

async function playGrub(path: string): Promise<0 | 1> {
  const block = await readFile(path).catch(() => null);
  if (block === null) return 0;
  const variables = parseGrubEnv(block);
  const count = Number(variables.get('boot_counter') ?? Number.NaN);
  if (variables.get('boot_success') === '1' || Number.isNaN(count)) return 0;
  if (count === 0) return 1;
  variables.set('boot_counter', `${count - 1}`);
  await overwrite(path, formatGrubEnv(variables));
  return 0;
}

async function playUboot(path: string): Promise<0 | 1> {
  const content = await readFile(path).catch(() => null);
  if (content === null) return 0;
  const variables = parseUbootEnv(content);
  if (variables.get('upgrade_available') !== '1') return 0;
  const count = Math.min(Number(variables.get('bootcount') ?? 0) + 1, BOOT_TRIES + 1);
  variables.set('bootcount', `${count}`);
  await overwrite(path, formatUbootEnv(variables, content.length));
  return count > BOOT_TRIES ? 1 : 0;
}

async function playSystemdBoot(folder: string): Promise<0 | 1> {
  const names = await readdir(folder).catch(() => []);
  for (const name of names) {
    const match = /^(.*)\+([0-9]+)(?:-([0-9]+))?\.conf$/.exec(name);
    if (match === null) continue;
    const left = Number(match[2]);
    if (left === 0) return 1;
    const tried = Number(match[3] ?? 0) + 1;
    await rename(join(folder, name), join(folder, `${match[1]}+${left - 1}-${tried}.conf`));
  }
  return 0;
}
