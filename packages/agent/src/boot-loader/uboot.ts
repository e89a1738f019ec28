import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { BOOT_TRIES, type BootLoader } from './boot-loader.ts';
import { overwrite, type SystemPartition } from './esp.ts';

const FILE = 'uboot.env';

/**
 * U-Boot: `upgrade_available` and `bootcount` in a file of `env export -t` beside its boot script. While an upgrade is
 * there, the script adds one to the count at each boot, and past the limit boots the rollback entry that OSTree's uEnv.txt
 * has.
 */
export function createUboot(partition: SystemPartition): BootLoader {
  const read = (folder: string) => readFile(join(folder, FILE)).then(parseUbootEnv, () => new Map<string, string>());
  const change = (values: Record<string, string>) =>
    partition.write(async (folder) => {
      const path = join(folder, FILE);
      const old = await readFile(path).catch(() => Buffer.alloc(0));
      const variables = parseUbootEnv(old);
      for (const [name, value] of Object.entries(values)) variables.set(name, value);
      const content = formatUbootEnv(variables, old.length);
      if (!content.equals(old)) await overwrite(path, content);
    });
  return {
    kind: 'uboot',
    readsOstree: true,
    async tries() {
      const variables = await partition.read(read);
      if (variables.get('upgrade_available') !== '1') return null;
      const count = Number(variables.get('bootcount') ?? 0);
      return Number.isInteger(count) ? Math.max(0, BOOT_TRIES - count) : 0;
    },
    async arm() {
      await change({ upgrade_available: '1', bootcount: '0' });
      return true;
    },
    publish: async () => {},
    proveGood: () => change({ upgrade_available: '0', bootcount: '0' }),
    async giveUp() {
      await change({ upgrade_available: '1', bootcount: `${BOOT_TRIES + 1}` });
      return true;
    },
  };
}

/** Variables as `env export -t` writes them: a line each, to the first NUL. */
export function parseUbootEnv(content: Buffer): Map<string, string> {
  const end = content.indexOf(0);
  const text = content.subarray(0, end === -1 ? content.length : end).toString('latin1');
  const variables = new Map<string, string>();
  for (const line of text.split(/\r?\n/)) {
    const equals = line.indexOf('=');
    if (equals > 0) variables.set(line.slice(0, equals), line.slice(equals + 1));
  }
  return variables;
}

/** Filled up with NUL to `size`, so that the file keeps its length where it can. */
export function formatUbootEnv(variables: ReadonlyMap<string, string>, size: number): Buffer {
  const lines = [...variables].sort(([a], [b]) => (a < b ? -1 : 1)).map(([name, value]) => `${name}=${value}\n`);
  const text = Buffer.from(lines.join(''), 'latin1');
  return Buffer.concat([text, Buffer.alloc(Math.max(0, size - text.length))]);
}
