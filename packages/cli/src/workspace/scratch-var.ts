import { existsSync, lstatSync, mkdirSync, readdirSync, readlinkSync } from 'node:fs';
import { cp } from 'node:fs/promises';
import { join, normalize } from 'node:path';
import type { Workspace } from './record.ts';

/**
 * The folder that is /var in a workspace. /var is a device's own, not a part of what it is updated to: what is written
 * there stays beside the workspace, from one `enter` to the next, and is not committed. It begins as what the tree has.
 */
export async function scratchVar({ folder, var: path }: Workspace): Promise<string> {
  if (!existsSync(path)) {
    const shipped = join(folder, 'var');
    if (lstatSync(shipped, { throwIfNoEntry: false })?.isDirectory()) {
      await cp(shipped, path, { recursive: true, verbatimSymlinks: true, preserveTimestamps: true, mode: 0 });
    } else mkdirSync(path, { recursive: true });
  }
  for (const inside of ['log', 'lib', 'cache', ...foldersLedTo(folder)])
    mkdirSync(join(path, inside), { recursive: true });
  mkdirSync(join(path, 'tmp'), { recursive: true, mode: 0o1777 });
  return path;
}

/** Folders below /var that symlinks at the top of a tree lead to: /home, /root, /opt … of OSTree systems. */
function foldersLedTo(folder: string): string[] {
  return readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
    if (!entry.isSymbolicLink()) return [];
    const target = normalize(`/${readlinkSync(join(folder, entry.name))}`);
    return target.startsWith('/var/') ? [target.slice('/var/'.length)] : [];
  });
}
