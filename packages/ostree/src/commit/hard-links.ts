import { lstatSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import type { Checksum } from '../formats/object-name.ts';
import type { Repo } from '../repo/repo.ts';

/** Checksums of objects by `device:inode`. */
export type ObjectLinks = ReadonlyMap<string, Checksum>;

/**
 * Looks at all content objects of a repository, so that files of a hard-linked checkout are known without being read.
 * An archive repository has none that a file can be a link to, but for the uncompressed copies that `ostree checkout -U`
 * makes. Takes a lstat for each object.
 */
export function scanObjectLinks(repo: Repo): ObjectLinks {
  const links = new Map<string, Checksum>();
  for (const folder of ['objects', 'uncompressed-objects-cache']) scan(join(repo.path, folder), links);
  return links;
}

/** The key of a file in ObjectLinks. */
export function linkKey({ dev, ino }: { dev: number; ino: number }): string {
  return `${dev}:${ino}`;
}

function scan(folder: string, links: Map<string, Checksum>): void {
  for (const first of list(folder)) {
    if (!/^[0-9a-f]{2}$/.test(first)) continue;
    for (const name of list(join(folder, first))) {
      if (!/^[0-9a-f]{62}\.file$/.test(name)) continue;
      const stats = lstatSync(join(folder, first, name), { throwIfNoEntry: false });
      if (stats) links.set(linkKey(stats), first + name.slice(0, 62));
    }
  }
}

function list(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch {
    return [];
  }
}
