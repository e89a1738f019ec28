import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { BOOT_TRIES, type BootLoader } from './boot-loader.ts';
import { overwrite, type SystemPartition } from './esp.ts';

/** Size and first line of GRUB's environment block (grub-core/lib/envblk.c). */
const BLOCK = 1024;
const SIGNATURE = '# GRUB Environment Block\n';
const FILE = 'grubenv';

/**
 * GRUB: `boot_success` and `boot_counter` in its environment block. While `boot_success` is not 1 and a count is there,
 * GRUB takes one off before it boots the first entry, and boots the second one at 0. It reads OSTree's entries itself.
 */
export function createGrub(partition: SystemPartition): BootLoader {
  const read = (folder: string) => readFile(join(folder, FILE)).then(parseGrubEnv, () => new Map<string, string>());
  const change = (values: Record<string, string | null>) =>
    partition.write(async (folder) => {
      const variables = await read(folder);
      const before = formatGrubEnv(variables);
      for (const [name, value] of Object.entries(values)) {
        if (value === null) variables.delete(name);
        else variables.set(name, value);
      }
      const after = formatGrubEnv(variables);
      if (!after.equals(before)) await overwrite(join(folder, FILE), after);
    });
  return {
    kind: 'grub',
    readsOstree: true,
    async tries() {
      const variables = await partition.read(read);
      const count = variables.get('boot_counter');
      if (count === undefined || variables.get('boot_success') === '1') return null;
      return /^[0-9]+$/.test(count) ? Number(count) : null;
    },
    async arm() {
      await change({ boot_success: '0', boot_counter: `${BOOT_TRIES}` });
      return true;
    },
    publish: async () => {},
    proveGood: () => change({ boot_success: '1', boot_counter: null }),
    async giveUp() {
      await change({ boot_success: '0', boot_counter: '0' });
      return true;
    },
  };
}

/** The variables of an environment block. What is no block has none. */
export function parseGrubEnv(block: Buffer): Map<string, string> {
  const variables = new Map<string, string>();
  const text = block.toString('latin1');
  if (!text.startsWith(SIGNATURE)) return variables;
  for (const line of text.split('\n')) {
    const equals = line.indexOf('=');
    if (line.startsWith('#') || equals <= 0) continue;
    variables.set(line.slice(0, equals), line.slice(equals + 1).replace(/\\([\\\n])/g, '$1'));
  }
  return variables;
}

/** A block of exactly 1,024 bytes, filled up with `#`. Variables that find no room are left out, the last ones first. */
export function formatGrubEnv(variables: ReadonlyMap<string, string>): Buffer {
  let text = SIGNATURE;
  for (const [name, value] of variables) {
    const line = `${name}=${value.replace(/\\/g, '\\\\')}\n`;
    if (text.length + line.length <= BLOCK) text += line;
  }
  return Buffer.from(text.padEnd(BLOCK, '#'), 'latin1');
}
