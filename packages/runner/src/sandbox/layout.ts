import { lstat, readdir, readlink } from 'node:fs/promises';
import { join } from 'node:path';
import { kindInside } from './inside.ts';

/** One entry of an image's folder, as far as the sandbox's mounts need to know it. */
export type LayoutEntry =
  | {
      kind: 'dir';
      name: string;
      source: string;
      /** Present when the folder was read, because something is mounted below it. */
      entries?: LayoutEntry[];
    }
  | { kind: 'file'; name: string; source: string }
  | { kind: 'symlink'; name: string; target: string };

/** Top-level folders of this machine that image "host" consists of. */
const HOST_ENTRIES = new Set(['usr', 'bin', 'sbin', 'lib', 'lib32', 'lib64', 'libx32', 'etc']);
const HOST_STATE = ['dpkg', 'apt'];

/**
 * Reads an image's root folder, and those folders below it that `paths` (absolute, inside the image) lead through.
 * An OSTree system has its /etc in /usr/etc: it is shown in both places.
 */
export async function imageLayout(root: string, paths: string[]): Promise<LayoutEntry[]> {
  const entries = await readLayout(root, paths);
  if (!entries.some((entry) => entry.name === 'etc')) {
    const source = join(root, 'usr/etc');
    if ((await kindInside(root, 'usr/etc')) === 'dir') {
      entries.push({ kind: 'dir', name: 'etc', source, entries: await readLayout(source, below(paths, 'etc')) });
    }
  }
  return entries;
}

/**
 * Image "host": this machine's programs and settings, and the state of its package manager (read-only, so that
 * `apt-get download` with private state folders works). Nothing of /home, /root, /var or /run.
 */
export async function hostLayout(paths: string[]): Promise<LayoutEntry[]> {
  const entries = (await readLayout('/', paths)).filter((entry) => HOST_ENTRIES.has(entry.name));
  const state: LayoutEntry[] = [];
  for (const name of HOST_STATE) {
    const source = join('/var/lib', name);
    if ((await kindInside('/', source)) === 'dir') state.push({ kind: 'dir', name, source });
  }
  const lib: LayoutEntry = { kind: 'dir', name: 'lib', source: '/var/lib', entries: state };
  entries.push({ kind: 'dir', name: 'var', source: '/var', entries: [lib] });
  return entries;
}

/**
 * What other users of this machine may not read below /etc: password hashes, private keys. A runner that is root would
 * show them to its jobs, so the sandbox covers them. Absolute paths; a folder stands for all below it.
 */
export async function unreadableByOthers(root = '/etc'): Promise<Array<{ path: string; kind: 'dir' | 'file' }>> {
  const hidden: Array<{ path: string; kind: 'dir' | 'file' }> = [];
  for (const entry of await readdir(root, { withFileTypes: true })) {
    const path = join(root, entry.name);
    if (entry.isDirectory()) {
      if (((await lstat(path)).mode & 0o005) !== 0o005) hidden.push({ path, kind: 'dir' });
      else hidden.push(...(await unreadableByOthers(path)));
    } else if (entry.isFile() && ((await lstat(path)).mode & 0o004) === 0) {
      hidden.push({ path, kind: 'file' });
    }
  }
  return hidden;
}

async function readLayout(folder: string, paths: string[]): Promise<LayoutEntry[]> {
  const entries: LayoutEntry[] = [];
  for (const found of await readdir(folder, { withFileTypes: true })) {
    const { name } = found;
    const source = join(folder, name);
    if (found.isSymbolicLink()) {
      entries.push({ kind: 'symlink', name, target: await readlink(source) });
    } else if (found.isFile()) {
      entries.push({ kind: 'file', name, source });
    } else if (found.isDirectory()) {
      const inside = below(paths, name);
      if (inside.length === 0) entries.push({ kind: 'dir', name, source });
      else entries.push({ kind: 'dir', name, source, entries: await readLayout(source, inside) });
    }
  }
  return entries.sort((a, b) => (a.name < b.name ? -1 : 1));
}

/** Of absolute paths, those below /<name>, made absolute in it. */
function below(paths: string[], name: string): string[] {
  const prefix = `/${name}/`;
  return paths.filter((path) => path.startsWith(prefix)).map((path) => path.slice(prefix.length - 1));
}
