import { readdir, readFile, readlink } from 'node:fs/promises';
import { basename, join } from 'node:path';

/** An entry of OSTree's boot menu (Boot Loader Specification, type 1). */
export interface BootEntry {
  /** Name of the file without `.conf`. */
  id: string;
  title: string;
  /** Larger is earlier in the menu; OSTree writes 1, 2, … . */
  version: number;
  options: string;
  /** Paths below the boot folder, with a leading `/`. */
  linux: string;
  initrd: string | null;
  devicetree: string | null;
}

/** OSTree's entries below a boot folder, in boot order: the default first. */
export async function readEntries(boot: string): Promise<BootEntry[]> {
  const folder = join(boot, 'loader/entries');
  const entries: BootEntry[] = [];
  for (const name of await readdir(folder).catch(() => [])) {
    if (!name.endsWith('.conf')) continue;
    const fields = new Map<string, string>();
    for (const line of (await readFile(join(folder, name), 'utf8')).split('\n')) {
      const match = /^(\S+)\s+(.*)$/.exec(line.trim());
      if (match !== null) fields.set(match[1] ?? '', match[2] ?? '');
    }
    entries.push({
      id: name.slice(0, -'.conf'.length),
      title: fields.get('title') ?? '',
      version: Number(fields.get('version') ?? 0),
      options: fields.get('options') ?? '',
      linux: fields.get('linux') ?? '',
      initrd: fields.get('initrd') ?? null,
      devicetree: fields.get('devicetree') ?? null,
    });
  }
  return entries.sort((a, b) => b.version - a.version);
}

/**
 * Where the files of an entry lie: OSTree writes their paths as the boot loader sees the boot partition, which below
 * `/boot` or, where that is a folder of the root file system, with `/boot` in front.
 */
export function entryFile(boot: string, path: string): string {
  return join(boot, path.replace(/^\/boot\//, '/'));
}

/** `<commit>.<serial>` of the deployment that an entry boots; null if there is none. */
export async function entryDeployment(
  sysroot: string,
  { options }: Pick<BootEntry, 'options'>,
): Promise<string | null> {
  const path = /(?:^|\s)ostree=(\S+)/.exec(options)?.[1];
  if (path === undefined) return null;
  const target = await readlink(join(sysroot, path)).catch(() => null);
  return target === null ? null : basename(target);
}
