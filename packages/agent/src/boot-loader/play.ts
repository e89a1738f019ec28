import { readdir, readFile, rename } from 'node:fs/promises';
import { join } from 'node:path';
import { BOOT_TRIES, type BootLoaderKind } from './boot-loader.ts';
import { overwrite } from './esp.ts';
import { formatGrubEnv, parseGrubEnv } from './grub.ts';
import { formatUbootEnv, parseUbootEnv } from './uboot.ts';

/** What is booted: an entry of OSTree's menu by its place, or an entry of the partition's own by its kernel arguments. */
export type Chosen = { entry: 0 | 1 } | { options: string };

/**
 * Does to a folder that plays the EFI system partition what the boot loaders' own scripts do at a boot. A board that is
 * a folder has nobody else who would.
 */
export async function playBoot(kind: BootLoaderKind, esp: string): Promise<Chosen> {
  if (kind === 'grub') return { entry: await playGrub(join(esp, 'grubenv')) };
  if (kind === 'uboot') return { entry: await playUboot(join(esp, 'uboot.env')) };
  return kind === 'systemd-boot' ? playSystemdBoot(join(esp, 'loader/entries')) : { entry: 0 };
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

async function playSystemdBoot(folder: string): Promise<Chosen> {
  const names = await readdir(folder).catch(() => []);
  const entries: { name: string; version: number; options: string; id: string; left: number | null; done: number }[] =
    [];
  for (const name of names) {
    const match = /^(.*?)(?:\+([0-9]+)(?:-([0-9]+))?)?\.conf$/.exec(name);
    if (match === null) continue;
    const text = await readFile(join(folder, name), 'utf8');
    entries.push({
      name,
      id: match[1] ?? '',
      left: match[2] === undefined ? null : Number(match[2]),
      done: Number(match[3] ?? 0),
      version: Number(/^version (\d+)$/m.exec(text)?.[1] ?? 0),
      options: /^options (.*)$/m.exec(text)?.[1] ?? '',
    });
  }
  // What has no tries left comes last.
  entries.sort((a, b) => Number(a.left === 0) - Number(b.left === 0) || b.version - a.version);
  const [first] = entries;
  if (first === undefined) return { entry: 0 };
  if (first.left !== null && first.left > 0) {
    const name = `${first.id}+${first.left - 1}-${first.done + 1}.conf`;
    await rename(join(folder, first.name), join(folder, name));
  }
  return { options: first.options };
}
