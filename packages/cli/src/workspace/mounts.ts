import {
  existsSync,
  lstatSync,
  mkdirSync,
  readlinkSync,
  realpathSync,
  rmdirSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { join, normalize } from 'node:path';

/** What bubblewrap is told to mount, and what had to be made in the workspace for it. */
export interface Mounts {
  arguments: string[];
  /** Takes away what was made, as far as nobody put anything there. */
  remove(): void;
}

const RESOLV = '/etc/resolv.conf';

/**
 * The mounts that make a workspace look like a system that runs: the folder writable as /, its /usr/etc as /etc where it
 * has none of its own, /proc, /dev, an empty /tmp and /run, and a scratch folder as /var.
 *
 * @param o.network whether names can be looked up
 */
export function mountsOf(folder: string, o: { var: string; network: boolean; isRoot: boolean }): Mounts {
  const place = new Places(folder);
  const mounts = ['--bind', folder, '/'];
  const hasEtc = isFolder(join(folder, 'etc'));
  if (!hasEtc && isFolder(join(folder, 'usr/etc')))
    mounts.push('--bind', join(folder, place.folder('usr/etc')), place.at('etc'));
  mounts.push('--proc', place.at('proc'), '--dev', place.at('dev'));
  if (o.isRoot) {
    // With real root's rights its settings would be those of this machine.
    for (const path of ['/proc/sys', '/proc/sysrq-trigger', '/proc/irq', '/proc/bus'])
      mounts.push('--ro-bind-try', path, path);
  }
  mounts.push(
    '--tmpfs',
    place.at('run'),
    '--dir',
    '/run/lock',
    '--bind',
    o.var,
    place.at('var'),
    ...temporary(folder, place),
  );
  if (o.network) mounts.push(...resolver(folder, hasEtc ? 'etc' : 'usr/etc', place));
  return { arguments: mounts, remove: () => place.remove() };
}

/** /tmp may be a link into /sysroot, which is empty where nothing is deployed, or into /var. */
function temporary(folder: string, place: Places): string[] {
  const path = join(folder, 'tmp');
  if (!lstatSync(path, { throwIfNoEntry: false })?.isSymbolicLink()) return ['--tmpfs', place.at('tmp')];
  const target = normalize(`/${readlinkSync(path)}`);
  if (target.startsWith('/sysroot/') && isFolder(join(folder, 'sysroot')))
    return ['--tmpfs', '/sysroot', '--dir', target];
  return [];
}

/** This machine's name servers, in the place where the tree has its own. */
function resolver(folder: string, etc: string, place: Places): string[] {
  if (!existsSync(RESOLV)) return [];
  const ours = realpathSync(RESOLV);
  const path = join(folder, etc, 'resolv.conf');
  const stats = lstatSync(path, { throwIfNoEntry: false });
  if (stats?.isSymbolicLink()) {
    const target = normalize(join('/etc', readlinkSync(path)));
    // /run is empty: bubblewrap makes the file there.
    return target.startsWith('/run/') ? ['--ro-bind', ours, target] : [];
  }
  if (!stats && !isFolder(join(folder, etc))) return [];
  place.file(`${etc}/resolv.conf`);
  return ['--ro-bind', ours, RESOLV];
}

function isFolder(path: string): boolean {
  return lstatSync(path, { throwIfNoEntry: false })?.isDirectory() === true;
}

/** Places in the workspace that something is mounted on; makes them where they are missing. */
class Places {
  readonly #folder: string;
  readonly #made: { path: string; kind: 'folder' | 'file' }[] = [];

  constructor(folder: string) {
    this.#folder = folder;
  }

  /** A folder at the top, as it is called inside. */
  at(name: string): string {
    this.folder(name);
    return `/${name}`;
  }

  folder(name: string): string {
    const path = join(this.#folder, name);
    if (!lstatSync(path, { throwIfNoEntry: false })) {
      mkdirSync(path);
      this.#made.push({ path, kind: 'folder' });
    }
    return name;
  }

  file(name: string): void {
    const path = join(this.#folder, name);
    if (lstatSync(path, { throwIfNoEntry: false })) return;
    writeFileSync(path, '');
    this.#made.push({ path, kind: 'file' });
  }

  remove(): void {
    for (const { path, kind } of this.#made.toReversed()) {
      try {
        if (kind === 'folder') rmdirSync(path);
        else if (statSync(path).size === 0) rmSync(path);
      } catch {
        // Somebody else has it mounted, put something there, or took it away.
      }
    }
  }
}
