import { lstatSync, readdirSync, type Stats } from 'node:fs';
import { join } from 'node:path';
import { OstreeError } from '../errors.ts';
import { badName } from '../formats/dirtree.ts';
import type { Checksum } from '../formats/object-name.ts';
import { readXattrs, type Xattr } from '../fs/syscalls.ts';
import { objectPath } from '../repo/objects.ts';
import type { Repo } from '../repo/repo.ts';
import { readBareObject } from '../work/bare-object.ts';
import { xattrsInside } from '../work/shifted-ids.ts';
import { changed } from '../work/store-file.ts';
import type { WriteFolderOptions } from './folder.ts';
import type { FolderSnapshot } from './folder-index.ts';
import { linkKey } from './hard-links.ts';
import type { Attributes, Modifier } from './modifier.ts';

/** An entry of a folder, and how it is to be stored. */
export interface FolderEntry {
  name: string;
  stats: Stats;
  attributes: Attributes;
  /** The object that the file is a link to, to be taken as it is. */
  linked?: Checksum;
  /** Extended attributes to store instead of those of the file. */
  xattrs?: readonly Xattr[];
  /** The file itself can become the object. */
  adopt?: boolean;
}

/** Reads folders of one walk: what is in them that is to be stored, and with which attributes. */
export class FolderReader {
  readonly #repo: Repo;
  readonly #options: WriteFolderOptions;
  readonly #modifier: Modifier;
  /** Whether extended attributes are stored. */
  readonly xattrs: boolean;
  /** The file system of the repository. */
  readonly #device: number;

  constructor(repo: Repo, options: WriteFolderOptions, modifier: Modifier) {
    this.#repo = repo;
    this.#options = options;
    this.#modifier = modifier;
    this.xattrs = !repo.ignoreXattrs && modifier.xattrs;
    this.#device = lstatSync(repo.path).dev;
  }

  /** The entries of a folder that are to be stored, in the order of the directory. */
  entries(path: string, relative: string, seen: FolderSnapshot): FolderEntry[] {
    const { filter, consumed } = this.#options;
    const entries: FolderEntry[] = [];
    for (const name of readNames(path)) {
      const inner = `${path === '/' ? '' : path}/${name}`;
      const stats = lstatSync(inner, { throwIfNoEntry: false });
      if (!stats) throw changed(inner);
      const below = relative === '/' ? `/${name}` : `${relative}/${name}`;
      if (filter && !filter(below, stats)) continue;
      if (stats.isDirectory()) {
        const attributes = this.#modifier.enter(below, stats);
        if (!attributes) {
          consumed?.add(inner, 'all');
          continue;
        }
        entries.push({ name, stats, attributes });
        seen.add(name, stats, attributes);
      } else if (stats.isFile() || stats.isSymbolicLink()) {
        consumed?.add(inner, 'file');
        const entry = this.#fileEntry(inner, below, name, stats);
        if (!entry) continue;
        entries.push(entry);
        seen.add(name, stats, entry.attributes);
        // What a link is to be stored as is the object's, not the file's own.
        if (entry.linked !== undefined || entry.xattrs !== undefined) seen.distrustLast();
      } else {
        throw new OstreeError('unsupported', `${inner}: Not a regular file or symlink`, {
          hint: 'OSTree stores folders, files and symlinks. Leave it out, or make it at boot (tmpfiles.d, udev).',
        });
      }
    }
    return entries;
  }

  #fileEntry(path: string, relative: string, name: string, stats: Stats): FolderEntry | null {
    const linked = this.#options.links?.get(linkKey(stats));
    if (linked && this.#options.linksAreFinal) return { name, stats, attributes: stats, linked };
    const own = linked && this.#repo.mode === 'bare-user' ? this.#objectAttributes(linked) : null;
    const before = own ?? stats;
    const attributes = this.#modifier.apply(relative, before);
    if (!attributes) return null;
    const same = attributes.uid === before.uid && attributes.gid === before.gid && attributes.mode === before.mode;
    if (linked && same && this.#keepsXattrs(path, own?.xattrs)) return { name, stats, attributes, linked };
    const adopt = this.#options.consumed !== undefined && stats.isFile() && this.#canAdopt(stats, same, linked);
    const seen = own?.xattrs ?? (this.#options.idShift ? this.readXattrs(path) : undefined);
    const xattrs = seen && this.xattrs ? { xattrs: seen } : {};
    return { name, stats, attributes, ...xattrs, ...(adopt ? { adopt } : {}) };
  }

  /** Of a file or folder, as they are inside of shifted ids. */
  readXattrs(path: string): Xattr[] {
    const { idShift } = this.#options;
    return idShift ? xattrsInside(readXattrs(path), idShift) : readXattrs(path);
  }

  /** A file of a bare-user checkout has other attributes than the object that it is a link to. */
  #objectAttributes(checksum: Checksum): { uid: number; gid: number; mode: number; xattrs: readonly Xattr[] } {
    return readBareObject(this.#repo, objectPath(this.#repo, 'file', checksum), `${checksum}.file`).header;
  }

  #keepsXattrs(path: string, own: readonly Xattr[] | undefined): boolean {
    if (this.xattrs || this.#repo.ignoreXattrs || this.#repo.mode === 'bare-user-only') return true;
    return (own ?? readXattrs(path)).length === 0;
  }

  /** Whether the file itself can be the object: nothing but its name, permissions and time would differ. */
  #canAdopt(stats: Stats, same: boolean, linked: Checksum | undefined): boolean {
    if (linked || stats.dev !== this.#device) return false;
    const { mode, ignoreXattrs } = this.#repo;
    return mode === 'bare-user-only' || (mode === 'bare' && same && (this.xattrs || ignoreXattrs));
  }
}

/** The names in a folder. Throws `unsupported` for one that no dirtree can hold. */
function readNames(path: string): string[] {
  const names = readdirSync(path);
  for (const name of names) {
    const reason = badName(name);
    if (reason === null) continue;
    const message = name.includes('\ufffd') ? 'Invalid UTF-8 in filename' : `cannot be stored: its name: ${reason}`;
    throw new OstreeError('unsupported', `${join(path, name)}: ${message}`);
  }
  return names;
}
