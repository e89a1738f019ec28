import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { readAttributes } from './attributes.ts';
import { readEntry } from './entry.ts';

/** What was written to a mounted overlay: `ostree admin unlock` mounts one over /usr, `--hotfix` at each boot again. */
export interface Overlay {
  /** Whether a path (as `/usr/bin/app`) is not simply what lies below: it may be the same all the same. */
  mayDiffer(path: string): boolean;
  /** Every path that is in its upper folder. */
  paths: readonly string[];
}

/**
 * Folder that takes what is written to a path, if an overlay is mounted there: as the mount names it, so it may be
 * relative to the folder in which mount was called (libostree's is `.usr-ovl-upper` in the deployment for a hotfix, and
 * `/var/tmp/ostree-unlock-ovl.XXXXXX/upper` otherwise). Null where no overlay is, and where nothing can be written to it,
 * as to that of composefs.
 *
 * @param mountinfo text of /proc/self/mountinfo, whose form proc(5) has
 */
export function upperOf(mountinfo: string, path: string): string | null {
  let covering: { at: string; root: string; type: string; options: string } | null = null;
  for (const line of mountinfo.split('\n')) {
    const [left = '', right = ''] = line.split(' - ');
    const [, , , root, at] = left.split(' ').map(plain);
    const [type = '', , options = ''] = right.split(' ');
    if (root === undefined || at === undefined) continue;
    const covers = at === '/' || at === path || path.startsWith(`${at}/`);
    // Of two at the same place the later hides the earlier.
    if (covers && (covering === null || at.length >= covering.at.length)) covering = { at, root, type, options };
  }
  if (covering?.type !== 'overlay') return null;
  const option = covering.options.split(',').find((one) => one.startsWith('upperdir='));
  if (option === undefined) return null;
  const inside = covering.at === '/' ? path : path.slice(covering.at.length);
  const upper = join(plain(option.slice('upperdir='.length)), covering.root, inside);
  return upper.replace(/(?<=.)\/$/, '');
}

/** Bytes that would spoil a line are written as `\ooo`. */
function plain(text: string): string {
  return text.replace(/\\([0-7]{3})/g, (_, code: string) => String.fromCharCode(Number.parseInt(code, 8)));
}

/**
 * Reads what an upper folder has. What it means (whiteouts, folders that hide what is below, moved folders) is left to the
 * kernel, which shows the result: this only says where to look.
 *
 * @param shown what the upper folder lies over: `/usr`
 */
export async function readOverlay(upper: string, shown: string, signal?: AbortSignal): Promise<Overlay> {
  const paths: string[] = [];
  const list = async (folder: string, path: string): Promise<void> => {
    signal?.throwIfAborted();
    paths.push(path);
    for (const entry of await readdir(folder, { withFileTypes: true })) {
      const inner = `${path}/${entry.name}`;
      if (entry.isDirectory()) await list(join(folder, entry.name), inner);
      else paths.push(inner);
    }
  };
  await list(upper, shown);
  // A folder that was moved shows what lies below at another place, where names may be the same and files are not.
  const redirects = await readAttributes([upper], { below: true, match: '^trusted\\.overlay\\.redirect$', signal });
  const moved = [...(redirects?.keys() ?? [])].map((path) => `${shown}${path.slice(upper.length)}/`);
  const known = new Set(paths);
  return { paths, mayDiffer: (path) => known.has(path) || moved.some((folder) => path.startsWith(folder)) };
}

/** The upper folder as it can be reached; null where it cannot be found. */
export async function findUpper(named: string, places: readonly string[]): Promise<string | null> {
  const candidates = named.startsWith('/') ? [named] : places.map((place) => join(place, named));
  for (const path of candidates) if ((await readEntry(path))?.type === 'folder') return path;
  return null;
}
