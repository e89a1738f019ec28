import type { Dirent, Stats } from 'node:fs';
import {
  chmod,
  chown,
  cp,
  lstat,
  mkdir,
  readdir,
  readFile,
  readlink,
  rename,
  rm,
  symlink,
  writeFile,
} from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { exists } from './inspect.ts';
import { FACTORY, LINKED, TMPFILES } from './layout.ts';

/** Written while the system runs, or made anew when it is missing: only the folders are kept. */
const EMPTIED = ['var/cache', 'var/log', 'var/tmp', 'var/backups', 'var/lib/apt/lists', 'var/lib/apt/periodic'];
const DROPPED = [
  'var/lib/dpkg',
  'var/lib/systemd/catalog/database',
  // What packages' scripts remember of units: of use to nobody where no package is installed.
  'var/lib/systemd/deb-systemd-helper-enabled',
  'var/lib/systemd/deb-systemd-helper-masked',
  'var/lib/systemd/deb-systemd-user-helper-enabled',
  'var/lib/systemd/random-seed',
  'var/lock',
  'var/run',
];

/** Types of tmpfiles.d's lines that make the path that they name. */
const MAKES = new Set(['d', 'D', 'q', 'Q', 'v', 'f', 'F', 'L', 'C', 'p', 'c', 'b', 'e', 'w']);

/**
 * Empties /var, and leaves what tmpfiles.d needs to make it again at the first boot: folders as lines, files and links
 * that the distribution put there as copies in /usr/share/factory. What people's folders held (/root, /home, /srv, …)
 * goes the same way, once; programs in /opt stay part of the system and are linked to. What exists on a device is
 * never touched by an update.
 *
 * @returns how many entries /var had, and how many are made again
 */
export async function moveVar(root: string): Promise<{ entries: number; remade: number }> {
  await redirectLines(root);
  const known = await declaredPaths(root);
  const lines: string[] = [];
  const add = (line: string, path: string) => {
    if (known.has(path)) return;
    known.add(path);
    lines.push(line);
  };
  let entries = 0;
  const walk = async (path: string): Promise<void> => {
    for (const child of await sortedEntries(join(root, path))) {
      const inside = `${path}/${child.name}`;
      if (DROPPED.includes(inside)) continue;
      entries++;
      const info = await lstat(join(root, inside));
      const owner = `${info.uid} ${info.gid}`;
      if (info.isDirectory()) {
        add(`d ${quoted(`/${inside}`)} ${mode(info)} ${owner} -`, `/${inside}`);
        await walk(inside);
      } else if (EMPTIED.some((folder) => inside.startsWith(`${folder}/`))) {
        // A file of a cache or a log.
      } else if (info.isSymbolicLink()) {
        add(`L ${quoted(`/${inside}`)} - - - - ${await readlink(join(root, inside))}`, `/${inside}`);
      } else if (info.isFile()) {
        await toFactory(root, inside, inside);
        add(`C ${quoted(`/${inside}`)} ${mode(info)} ${owner} -`, `/${inside}`);
      }
    }
  };
  await walk('var');
  lines.push('L /var/lib/dpkg - - - - ../../usr/lib/sysimage/dpkg');
  for (const [name, target] of Object.entries(LINKED)) await linkOut(root, name, target, lines, known);
  await linkUsrLocal(root, lines);
  await mkdir(dirname(join(root, TMPFILES)), { recursive: true });
  await writeFile(
    join(root, TMPFILES),
    `# What /var held when the distribution was installed. Made by treeline ostreeify.\n${lines.join('\n')}\n`,
  );
  await chmod(join(root, TMPFILES), 0o644);
  await rm(join(root, 'var'), { recursive: true, force: true });
  await mkdir(join(root, 'var'), { mode: 0o755 });
  return { entries, remade: lines.length };
}

/** A folder that people write to becomes a link into /var; what it held is copied there once, at the first boot. */
async function linkOut(
  root: string,
  name: string,
  target: string,
  lines: string[],
  known: ReadonlySet<string>,
): Promise<void> {
  const path = join(root, name);
  const info = await lstat(path).catch(() => null);
  if (info?.isSymbolicLink()) await rm(path);
  if (info?.isDirectory()) {
    const held = await sortedEntries(path);
    if (target.startsWith('run/')) {
      // Nothing is kept below /run: removable media are mounted there.
    } else if (name === 'opt') {
      // Programs: they come and go with the system, so they stay in /usr.
      for (const child of held) {
        await mkdir(join(root, 'usr/lib/opt'), { recursive: true });
        await rename(join(path, child.name), join(root, 'usr/lib/opt', child.name));
        lines.push(`L ${quoted(`/var/opt/${child.name}`)} - - - - /usr/lib/opt/${child.name}`);
      }
    } else if (name === 'root' && held.length > 0) {
      await toFactory(root, name, target);
      lines.push(`C /${target} ${mode(info)} ${info.uid} ${info.gid} -`);
    } else {
      for (const child of held) {
        await toFactory(root, `${name}/${child.name}`, `${target}/${child.name}`);
        lines.push(`C ${quoted(`/${target}/${child.name}`)}`);
      }
    }
  }
  const folder = info?.isDirectory() ? info : null;
  if (!known.has(`/${target}`) && !lines.some((line) => line.startsWith(`C /${target} `))) {
    const first = `d /${target} ${folder === null ? (name === 'root' ? '0700' : '0755') : mode(folder)} 0 0 -`;
    lines.push(first);
  }
  await rm(path, { recursive: true, force: true });
  await symlink(target, path);
}

/** Empty, it is the administrator's: a link into /var. With programs in it, it is part of the system. */
async function linkUsrLocal(root: string, lines: string[]): Promise<void> {
  const path = join(root, 'usr/local');
  const info = await lstat(path).catch(() => null);
  if (info?.isSymbolicLink()) return;
  const folders: [path: string, info: Stats][] = [];
  const holdsFiles = async (folder: string): Promise<boolean> => {
    for (const child of await sortedEntries(join(path, folder))) {
      const inside = folder === '' ? child.name : `${folder}/${child.name}`;
      const childInfo = await lstat(join(path, inside));
      if (childInfo.isFile()) return true;
      if (childInfo.isDirectory()) {
        folders.push([inside, childInfo]);
        if (await holdsFiles(inside)) return true;
      }
    }
    return false;
  };
  if (info !== null && (await holdsFiles(''))) return;
  lines.push('d /var/usrlocal 0755 0 0 -');
  for (const [folder, folderInfo] of folders) {
    lines.push(`d ${quoted(`/var/usrlocal/${folder}`)} ${mode(folderInfo)} ${folderInfo.uid} ${folderInfo.gid} -`);
  }
  await rm(path, { recursive: true, force: true });
  await symlink('../var/usrlocal', path);
}

async function toFactory(root: string, from: string, to: string): Promise<void> {
  const target = join(root, FACTORY, to);
  await mkdir(dirname(target), { recursive: true });
  await cp(join(root, from), target, { recursive: true, verbatimSymlinks: true });
  await copyOwners(join(root, from), target);
}

/** Node's copy keeps modes only. */
async function copyOwners(from: string, to: string): Promise<void> {
  const info = await lstat(from);
  if (info.isSymbolicLink()) return;
  await chown(to, info.uid, info.gid);
  await chmod(to, info.mode & 0o7777);
  if (!info.isDirectory()) return;
  for (const child of await readdir(from)) await copyOwners(join(from, child), join(to, child));
}

/** The distribution's own lines for folders that are links now would be refused: they say where the folders went. */
async function redirectLines(root: string): Promise<void> {
  const places = Object.entries({ ...LINKED, 'usr/local': 'var/usrlocal' });
  const pattern = new RegExp(`^(\\S+\\s+)/(${places.map(([name]) => name).join('|')})(?=[\\s/])`, 'gm');
  const targets = new Map(places);
  const folder = join(root, 'usr/lib/tmpfiles.d');
  for (const file of (await exists(folder)) ? await sortedEntries(folder) : []) {
    if (!file.isFile()) continue;
    const path = join(folder, file.name);
    const text = await readFile(path, 'utf8');
    const redirected = text.replace(pattern, (_, type: string, name: string) => `${type}/${targets.get(name)}`);
    if (redirected !== text) await writeFile(path, redirected);
  }
}

/** Paths that the distribution's own lines make. */
async function declaredPaths(root: string): Promise<Set<string>> {
  const paths = new Set<string>();
  for (const folder of ['usr/lib/tmpfiles.d', 'etc/tmpfiles.d']) {
    if (!(await exists(join(root, folder)))) continue;
    for (const file of await sortedEntries(join(root, folder))) {
      if (!file.name.endsWith('.conf') || !file.isFile()) continue;
      const text = await readFile(join(root, folder, file.name), 'utf8');
      for (const line of text.split('\n')) {
        const [type, path] = line.trim().split(/\s+/);
        if (type !== undefined && path?.startsWith('/var') && MAKES.has(type.charAt(0))) paths.add(path);
      }
    }
  }
  return paths;
}

async function sortedEntries(folder: string): Promise<Dirent[]> {
  const entries = await readdir(folder, { withFileTypes: true });
  return entries.sort((a, b) => (a.name < b.name ? -1 : 1));
}

function mode(info: Stats): string {
  return (info.mode & 0o7777).toString(8).padStart(4, '0');
}

/** As tmpfiles.d wants a path: % begins a specifier, blanks end a word. */
function quoted(path: string): string {
  const escaped = path.replaceAll('%', '%%').replaceAll('\\', '\\\\').replaceAll('"', '\\"');
  return /[\s"'\\]/.test(path) ? `"${escaped.replaceAll('\n', '\\n').replaceAll('\t', '\\t')}"` : escaped;
}
