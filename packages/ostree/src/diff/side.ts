import { createHash, hash } from 'node:crypto';
import { createReadStream, lstatSync, readdirSync, readlinkSync, type Stats } from 'node:fs';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { OstreeError } from '../errors.ts';
import { type DirMeta, encodeDirMeta } from '../formats/dirmeta.ts';
import { encodeFileHeader, type FileHeader } from '../formats/file.ts';
import { S_IFLNK, S_IFMT } from '../formats/mode.ts';
import { type Checksum, compareNames, type Tree } from '../formats/object-name.ts';
import { readXattrs } from '../fs/syscalls.ts';
import { readFileObject } from '../repo/objects.ts';
import type { Repo } from '../repo/repo.ts';
import { type TreeReader, treeReader } from '../repo/tree-reader.ts';

/** One side of a comparison: a tree of a repository, or a folder as it lies on disk. */
export type DiffSide = RepoSide | FolderSide;

/** A tree of a repository as a side of a comparison. */
export interface RepoSide {
  repo: Repo;
  tree: Tree;
}

/** A folder on disk as a side of a comparison. */
export interface FolderSide {
  /** Path of the folder. It is read only; nothing is written into a repository. */
  folder: string;
  /** Owner to take every file for, instead of its own. */
  owner?: { uid?: number; gid?: number };
  /** Whether extended attributes count. Default true. */
  xattrs?: boolean;
}

/** A file or symlink of a side, read no further than somebody asks. */
export interface SideFile {
  /** Where it is known without reading the content. */
  readonly known: Checksum | null;
  /** Empty for a device, socket or pipe on disk. */
  checksum(): Promise<Checksum>;
  stat(): Promise<{ header: FileHeader; size: number }>;
  content(): Promise<Readable>;
}

/** A folder of a side. */
export interface SideFolder {
  /** Checksum of its dirtree, which tells folders apart without reading them. Null on disk. */
  readonly contents: Checksum | null;
  metaChecksum(): Checksum;
  meta(): DirMeta;
  /** Both sorted by name. */
  list(): { files: Map<string, SideFile>; dirs: Map<string, SideFolder> };
}

/** The root of a side. @throws OstreeError `not-found` or `invalid` where a folder is none */
export function openSide(side: DiffSide): SideFolder {
  if ('repo' in side) return repoFolder(side.repo, treeReader(side.repo), side.tree);
  const stats = lstatSync(side.folder, { throwIfNoEntry: false });
  if (!stats) throw new OstreeError('not-found', `${side.folder}: no such folder`);
  if (!stats.isDirectory()) throw new OstreeError('invalid', `${side.folder}: not a folder`);
  return diskFolder(side, side.folder, stats);
}

function repoFolder(repo: Repo, reader: TreeReader, tree: Tree): SideFolder {
  return {
    contents: tree.contents,
    metaChecksum: () => tree.meta,
    meta: () => reader.dirMeta(tree.meta),
    list() {
      const { files, dirs } = reader.dirTree(tree.contents);
      return {
        files: mapValues(files, (checksum) => repoFile(repo, checksum)),
        dirs: mapValues(dirs, (inner) => repoFolder(repo, reader, inner)),
      };
    },
  };
}

function repoFile(repo: Repo, checksum: Checksum): SideFile {
  return {
    known: checksum,
    checksum: async () => checksum,
    stat: () => readFileObject(repo, checksum),
    content: async () => (await readFileObject(repo, checksum)).content(),
  };
}

function diskFolder(side: FolderSide, path: string, stats: Stats): SideFolder {
  const meta = (): DirMeta => ({ ...owner(side, stats), mode: stats.mode, xattrs: xattrsOf(side, path) });
  return {
    contents: null,
    meta,
    metaChecksum: () => hash('sha256', encodeDirMeta(meta())),
    list() {
      const files = new Map<string, SideFile>();
      const dirs = new Map<string, SideFolder>();
      for (const name of readdirSync(path).sort(compareNames)) {
        const inner = join(path, name);
        const found = lstatSync(inner, { throwIfNoEntry: false });
        if (!found) continue; // removed since the folder was read
        if (found.isDirectory()) dirs.set(name, diskFolder(side, inner, found));
        else files.set(name, diskFile(side, inner, found));
      }
      return { files, dirs };
    },
  };
}

function diskFile(side: FolderSide, path: string, stats: Stats): SideFile {
  const isLink = stats.isSymbolicLink();
  const content = (): Readable => (stats.isFile() ? createReadStream(path) : Readable.from([]));
  const header = (): FileHeader => ({
    ...owner(side, stats),
    mode: stats.mode,
    symlinkTarget: isLink ? readlinkSync(path) : '',
    xattrs: xattrsOf(side, path),
  });
  return {
    known: null,
    async checksum() {
      if (!isLink && !stats.isFile()) return ''; // a device, socket or pipe: nothing that could be an object
      const sum = createHash('sha256').update(encodeFileHeader(header()));
      await pipeline(content(), async (chunks: AsyncIterable<Buffer>) => {
        for await (const chunk of chunks) sum.update(chunk);
      });
      return sum.digest('hex');
    },
    stat: async () => ({ header: header(), size: stats.isFile() ? stats.size : 0 }),
    content: async () => content(),
  };
}

function owner(side: FolderSide, stats: Stats): { uid: number; gid: number } {
  return { uid: side.owner?.uid ?? stats.uid, gid: side.owner?.gid ?? stats.gid };
}

function xattrsOf(side: FolderSide, path: string): FileHeader['xattrs'] {
  return side.xattrs === false ? [] : readXattrs(path);
}

/** Whether a header is that of a symlink. */
export function isSymlink(header: FileHeader): boolean {
  return (header.mode & S_IFMT) === S_IFLNK;
}

function mapValues<A, B>(map: ReadonlyMap<string, A>, convert: (value: A) => B): Map<string, B> {
  return new Map([...map].map(([key, value]) => [key, convert(value)]));
}
