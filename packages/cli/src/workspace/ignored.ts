import { readdirSync, type Stats } from 'node:fs';
import { join } from 'node:path';

/** Folders that `treeline enter` mounts something on. */
const MOUNTED = new Set(['proc', 'sys', 'dev', 'run', 'tmp', 'var', 'etc']);

/**
 * A filter that leaves out what `enter` had to make in a workspace to mount on, and what an `enter` that was killed left
 * behind: empty folders at the top that the base does not have, and an empty resolv.conf.
 *
 * @param inBase whether the base has a path
 */
export function withoutMountPoints(
  folder: string,
  inBase: (path: string) => boolean,
): (path: string, stats: Stats) => boolean {
  return (path, stats) => {
    if (path === '/etc/resolv.conf' || path === '/usr/etc/resolv.conf') {
      return !stats.isFile() || stats.size > 0 || inBase(path);
    }
    if (!stats.isDirectory() || path.lastIndexOf('/') !== 0 || !MOUNTED.has(path.slice(1))) return true;
    return inBase(path) || readdirSync(join(folder, path)).length > 0;
  };
}
