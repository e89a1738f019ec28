import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { AgentError, messageOf, systemCode } from '../errors.ts';
import type { BootLoader } from './boot-loader.ts';
import type { SystemPartition } from './esp.ts';
import { createGrub } from './grub.ts';
import { NO_BOOT_LOADER } from './none.ts';
import { createSystemdBoot } from './systemd-boot.ts';
import { createUboot } from './uboot.ts';

/** What a system tree says of the boot loader that it is made for. */
const BootFile = z.object({
  version: z.literal(1),
  loader: z.enum(['grub', 'uboot', 'systemd-boot']),
  /** The EFI system partition, as mount takes it. */
  esp: z.string(),
});

const PATH = 'usr/lib/treeline/boot.json';

/**
 * The boot loader of the system whose tree is at `root`: it says so itself, so nothing is probed. Without the file, none
 * that counts.
 *
 * @throws AgentError `deploy-failed` for a file that cannot be understood
 */
export async function openBootLoader(o: {
  root: string;
  /** OSTree's boot folder. */
  boot: string;
  partition(source: string): SystemPartition;
}): Promise<BootLoader> {
  const path = join(o.root, PATH);
  let text: string;
  try {
    text = await readFile(path, 'utf8');
  } catch (error) {
    if (systemCode(error) === 'ENOENT' || systemCode(error) === 'ENOTDIR') return NO_BOOT_LOADER;
    throw error;
  }
  let file: z.infer<typeof BootFile>;
  try {
    file = BootFile.parse(JSON.parse(text));
  } catch (cause) {
    throw new AgentError('deploy-failed', `${path} cannot be understood: ${messageOf(cause)}`, { cause });
  }
  const partition = o.partition(file.esp);
  switch (file.loader) {
    case 'grub':
      return createGrub(partition);
    case 'uboot':
      return createUboot(partition);
    case 'systemd-boot':
      return createSystemdBoot(partition, o.boot);
  }
}
