import type { DirMeta } from '../formats/dirmeta.ts';
import type { FileHeader } from '../formats/file.ts';
import { S_IFDIR, S_IFLNK, S_IFMT } from '../formats/mode.ts';
import type { Tree } from '../formats/object-name.ts';
import { readXattrs, type Xattr } from '../fs/syscalls.ts';
import { objectPath } from '../repo/objects.ts';
import type { Repo } from '../repo/repo.ts';
import { lookUp, treeReader } from '../repo/tree-reader.ts';
import { readObjectHeader } from '../work/object-header.ts';

/** A tree that was checked out in user mode. */
export interface CheckedOut {
  tree: Tree;
  /** Whose what was added is. Default root. */
  owner?: { uid: number; gid: number };
}

/** What files and folders of a checkout in user mode are to be stored with. Paths begin with a slash. */
export interface LostAttributes {
  /** @param mode st_mode on disk */
  folder(relative: string, mode: number): DirMeta;
  file(relative: string, path: string, mode: number): Pick<FileHeader, 'uid' | 'gid' | 'mode'> & { xattrs: Xattr[] };
}

/** Permissions of a file that a checkout in user mode leaves off. */
const LOST_BITS = 0o6000;

/**
 * Gives back what a checkout in user mode took away: the owner and extended attributes of each path that the tree has,
 * and its set-user-id and set-group-id bits. Permissions that somebody changed on disk are those on disk. What was added
 * belongs to `owner`, with the attributes that were set on it.
 */
export function lostAttributes(repo: Repo, { tree, owner = { uid: 0, gid: 0 } }: CheckedOut): LostAttributes {
  const reader = treeReader(repo);
  return {
    folder(relative, mode) {
      const found = lookUp(reader, tree, relative);
      if (found?.kind !== 'dir') return { ...owner, mode, xattrs: [] };
      const { uid, gid, xattrs } = reader.dirMeta(found.tree.meta);
      return { uid, gid, mode: S_IFDIR | (mode & 0o7777), xattrs };
    },
    file(relative, path, mode) {
      const found = lookUp(reader, tree, relative);
      if (found?.kind !== 'file') return { ...owner, mode, xattrs: ownXattrs(path) };
      const { header } = readObjectHeader(repo, objectPath(repo, 'file', found.checksum), found.checksum);
      const { uid, gid } = header;
      // What became something else has the owner of what it was, and nothing more.
      if ((header.mode & S_IFMT) !== (mode & S_IFMT)) return { uid, gid, mode, xattrs: [] };
      return { uid, gid, mode: restoredMode(header.mode, mode), xattrs: [...header.xattrs] };
    },
  };
}

/** @param before the mode in the tree, from which the checkout made the one on disk */
function restoredMode(before: number, onDisk: number): number {
  if ((before & S_IFMT) === S_IFLNK) return before;
  const checkedOut = (before & 0o1777) | 0o400;
  if ((onDisk & 0o7777) === checkedOut) return before;
  return onDisk | (before & LOST_BITS);
}

const CAPABILITY = 'security.capability';

/**
 * Attributes that somebody gave to a new file, without those that only mean something on this machine. Capabilities that
 * were set inside of a user namespace name its root; in the tree it is root.
 */
function ownXattrs(path: string): Xattr[] {
  return readXattrs(path).flatMap(([name, value]): Xattr[] => {
    const text = Buffer.from(name).toString();
    if (text === CAPABILITY) return [[name, withoutNamespace(Buffer.from(value))]];
    return text.startsWith('user.') && text !== 'user.ostreemeta' ? [[name, value]] : [];
  });
}

/** Revision 3 of `struct vfs_cap_data` (linux/capability.h) has the namespace's root in four more bytes than revision 2. */
function withoutNamespace(value: Buffer): Buffer {
  if (value.length !== 24 || value.readUInt32LE(0) >>> 24 !== 3) return value;
  const plain = Buffer.from(value.subarray(0, 20));
  plain.writeUInt32LE((value.readUInt32LE(0) & 0x00ffffff) | 0x02000000, 0);
  return plain;
}
