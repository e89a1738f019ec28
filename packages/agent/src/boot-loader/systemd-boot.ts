import { createHash } from 'node:crypto';
import { copyFile, mkdir, open, readdir, readFile, rename, rm, stat } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { AgentError } from '../errors.ts';
import { BOOT_TRIES, type BootLoader } from './boot-loader.ts';
import { type BootEntry, entryFile } from './entries.ts';
import type { SystemPartition } from './esp.ts';

/** Entries of ours, with the count that systemd-boot keeps in their names (`+LEFT-DONE`; Automatic Boot Assessment). */
const OURS = /^(ostree-[0-9]+)(?:\+([0-9]+)(?:-([0-9]+))?)?\.conf$/;
const KERNELS = 'ostree';

/**
 * systemd-boot: it counts in the names of entries, and reads nothing but the EFI system partition, where OSTree cannot
 * write for lack of links. So kernels and entries are copied there whenever the boot order has changed. The first entry
 * has a count while it has to prove good; an entry whose count is 0 comes after all others.
 *
 * Entries name their deployment by way of OSTree's `/ostree/boot.N`, whose number changes with the boot order: the old
 * one must be there until the new entries are. So deployments are not removed one by one on such a board.
 *
 * @param boot OSTree's boot folder
 */
export function createSystemdBoot(partition: SystemPartition, boot: string): BootLoader {
  let armed = false;
  /** The entry that is counted, whatever its count. */
  const counted = async (folder: string) => {
    for (const name of await readdir(join(folder, 'loader/entries')).catch(() => [])) {
      const match = OURS.exec(name);
      if (match?.[2] !== undefined) return { name, id: match[1] ?? '', left: Number(match[2]) };
    }
    return null;
  };
  /** The first entry, where there is a second one. */
  const first = async (folder: string) => {
    const names = (await readdir(join(folder, 'loader/entries')).catch(() => [])).filter((name) => OURS.test(name));
    const place = (name: string) => Number(/^ostree-(\d+)/.exec(name)?.[1] ?? 0);
    const [name] = names.sort((a, b) => place(b) - place(a));
    return name === undefined || names.length < 2 ? null : { name, id: OURS.exec(name)?.[1] ?? '' };
  };
  const renameEntry = (
    choose: (folder: string) => Promise<{ name: string; id: string } | null>,
    to: (id: string) => string,
  ) =>
    partition.write(async (folder) => {
      const entry = await choose(folder);
      if (entry === null) return false;
      const entries = join(folder, 'loader/entries');
      if (to(entry.id) !== entry.name) await rename(join(entries, entry.name), join(entries, to(entry.id)));
      await syncPath(entries);
      return true;
    });
  return {
    kind: 'systemd-boot',
    readsOstree: false,
    tries: () => partition.read(async (folder) => (await counted(folder))?.left ?? null),
    async arm() {
      // The name of the entry that is to be counted is known when it is there: see `publish`.
      armed = true;
      return true;
    },
    async publish(entries) {
      await partition.write((folder) => copyEntries(folder, { boot, entries, armed }));
      armed = false;
    },
    async proveGood() {
      await renameEntry(counted, (id) => `${id}.conf`);
    },
    giveUp: () => renameEntry(first, (id) => `${id}+0-${BOOT_TRIES}.conf`),
  };
}

async function copyEntries(
  esp: string,
  o: { boot: string; entries: readonly BootEntry[]; armed: boolean },
): Promise<void> {
  const folder = join(esp, 'loader/entries');
  await mkdir(folder, { recursive: true });
  const before = await readdir(folder);
  const kernels = new Set<string>();
  const names = new Set<string>();
  // The fallback first: at every moment what runs now can be booted.
  for (const [index, entry] of [...o.entries.entries()].reverse()) {
    const files = await copyKernel(esp, o.boot, entry);
    kernels.add(files.folder);
    // systemd-boot puts the larger number first.
    const id = `ostree-${o.entries.length - index}`;
    const text = [
      `title ${entry.title}`,
      `version ${o.entries.length - index}`,
      `linux ${files.linux}`,
      ...(files.initrd === null ? [] : [`initrd ${files.initrd}`]),
      ...(files.devicetree === null ? [] : [`devicetree ${files.devicetree}`]),
      `options ${entry.options}`,
      '',
    ].join('\n');
    const old = before.find((name) => OURS.exec(name)?.[1] === id);
    const same = old !== undefined && (await readFile(join(folder, old), 'utf8')) === text;
    const count = index === 0 && o.armed ? `+${BOOT_TRIES}` : '';
    // An entry that is as it was keeps its count, unless it is to be counted anew.
    const name = same && !o.armed ? old : `${id}${count}.conf`;
    names.add(name);
    if (same && name === old) continue;
    await writeEntry(folder, name, text);
    if (old !== undefined && old !== name) await rm(join(folder, old), { force: true });
  }
  await syncPath(folder);
  // Only now is nothing left that needs what is removed.
  for (const name of await readdir(folder)) {
    if (OURS.test(name) && !names.has(name)) await rm(join(folder, name), { force: true });
  }
  await syncPath(folder);
  for (const name of await readdir(join(esp, KERNELS)).catch(() => [])) {
    if (!kernels.has(name)) await rm(join(esp, KERNELS, name), { recursive: true, force: true });
  }
}

/** Copies an entry's files into a folder that is named after them; it is whole when it has its name. */
async function copyKernel(esp: string, boot: string, entry: BootEntry) {
  const sources = [entry.linux, entry.initrd, entry.devicetree].filter((path) => path !== null);
  // OSTree's own folder has the checksum of kernel and initramfs in its name.
  const name = createHash('sha256').update(sources.join('\n')).digest('hex').slice(0, 16);
  const folder = join(esp, KERNELS, name);
  const inside = (path: string | null) => (path === null ? null : `/${KERNELS}/${name}/${basename(path)}`);
  const files = {
    folder: name,
    linux: inside(entry.linux) ?? '',
    initrd: inside(entry.initrd),
    devicetree: inside(entry.devicetree),
  };
  if ((await stat(folder).catch(() => null)) !== null) return files;
  const temporary = `${folder}.new`;
  await rm(temporary, { recursive: true, force: true });
  await mkdir(temporary, { recursive: true });
  try {
    for (const path of sources) {
      const to = join(temporary, basename(path));
      await copyFile(entryFile(boot, path), to);
      await syncPath(to);
    }
  } catch (cause) {
    await rm(temporary, { recursive: true, force: true });
    const full = cause instanceof Error && 'code' in cause && cause.code === 'ENOSPC';
    if (!full) throw cause;
    throw new AgentError('deploy-failed', 'no space left for another kernel on the EFI system partition', { cause });
  }
  await syncPath(temporary);
  await rename(temporary, folder);
  await syncPath(dirname(folder));
  return files;
}

/** Under a name that systemd-boot overlooks first. */
async function writeEntry(folder: string, name: string, text: string): Promise<void> {
  const temporary = join(folder, `${name}.new`);
  const file = await open(temporary, 'w');
  try {
    await file.writeFile(text);
    await file.sync();
  } finally {
    await file.close();
  }
  await rename(temporary, join(folder, name));
}

async function syncPath(path: string): Promise<void> {
  const handle = await open(path, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}
