import { hash } from 'node:crypto';
import type { Readable } from 'node:stream';
import { type DirMeta, encodeDirMeta } from '../formats/dirmeta.ts';
import type { FileHeader } from '../formats/file.ts';
import { S_IFMT } from '../formats/mode.ts';
import { type Checksum, compareNames, type Tree } from '../formats/object-name.ts';
import type { Repo } from '../repo/repo.ts';
import { type ChangeKind, findChanges, type SideEntry, sameXattrs } from './compare.ts';
import { sameContent } from './content.ts';
import { objectSizes, reachable } from './download.ts';
import { type DiffSide, isSymlink, type SideFile } from './side.ts';

/** A file or symlink on one side of a diff. */
export interface FileNode {
  type: 'file' | 'symlink';
  /** Empty for a device, socket or pipe in a folder on disk, which counts as a file here; its mode tells. */
  checksum: Checksum;
  /** Bytes of content; 0 for a symlink. */
  size: number;
  header: FileHeader;
  /** Opens the content; empty for a symlink. */
  content(): Promise<Readable>;
}

/** A folder on one side of a diff. */
export interface DirNode {
  type: 'dir';
  meta: DirMeta;
}

/** What is at a path on one side of a diff. */
export type Node = FileNode | DirNode;

/** What can differ about something that is there on both sides. */
export type Difference = 'type' | 'content' | 'target' | 'mode' | 'owner' | 'xattrs';

/** A path that differs, and how. */
export interface Change {
  kind: ChangeKind;
  /** Absolute path inside the tree. */
  path: string;
  /** What differs, when it was modified; empty when it was added or removed. */
  differs: readonly Difference[];
  /** Missing when it was added. */
  before?: Node;
  /** Missing when it was removed. */
  after?: Node;
  /**
   * With `download: true`: bytes that somebody who has all of `before` fetches for this path, as an archive repository
   * stores them. What several paths need counts for the first of them; folder listings are counted by downloadSize only.
   */
  download?: number;
}

/** What is found out about changes. */
export interface DiffOptions {
  /** Fill in `download` of each change. Reads both trees as a whole. Needs two trees of one repository. */
  download?: boolean;
  signal?: AbortSignal;
}

/**
 * Every path that differs between two trees, sorted by path; below an added or removed folder each file by
 * itself. Equal subtrees are not read, so it costs what changed. A path that turned from a file into a folder is one
 * modified path, and what is in the folder is added.
 *
 * @param before null for "nothing": everything in `after` is added
 */
export async function diffTrees(
  repo: Repo,
  before: Tree | null,
  after: Tree,
  options: DiffOptions = {},
): Promise<Change[]> {
  const changes = await diffSides(before && { repo, tree: before }, { repo, tree: after }, options);
  if (options.download) addDownloads(repo, before, changes);
  return changes;
}

/** The same for sides of which one or both may be folders on disk. Content of those is read where it must be. */
export async function diffSides(
  before: DiffSide | null,
  after: DiffSide,
  options: { signal?: AbortSignal } = {},
): Promise<Change[]> {
  const changes: Change[] = [];
  for (const { kind, path, before: a, after: b } of await findChanges(before, after, options.signal)) {
    options.signal?.throwIfAborted();
    const [left, right] = [a && (await nodeOf(a)), b && (await nodeOf(b))];
    const differs = left && right ? await differences(left, right) : [];
    changes.push({ kind, path, differs, ...(left ? { before: left } : {}), ...(right ? { after: right } : {}) });
  }
  return changes.sort((a, b) => comparePaths(a.path, b.path));
}

async function nodeOf(entry: SideEntry): Promise<Node> {
  return 'dir' in entry ? { type: 'dir', meta: entry.dir.meta() } : await fileNode(entry.file);
}

async function fileNode(file: SideFile): Promise<FileNode> {
  const { header, size } = await file.stat();
  const type = isSymlink(header) ? 'symlink' : 'file';
  return { type, checksum: await file.checksum(), size, header, content: () => file.content() };
}

async function differences(before: Node, after: Node): Promise<Difference[]> {
  const [left, right] = [attributes(before), attributes(after)];
  const found: Difference[] = [];
  const typeDiffers = before.type !== after.type;
  if (typeDiffers) found.push('type');
  else if (before.type !== 'dir' && after.type !== 'dir') {
    if (before.header.symlinkTarget !== after.header.symlinkTarget) found.push('target');
    const onlyContent = sameAttributes(left, right) && found.length === 0;
    if (before.size !== after.size || onlyContent || !(await sameContent(before, after))) found.push('content');
  }
  // Every symlink has the same permissions, so between types they say nothing.
  if (!typeDiffers && (left.mode & ~S_IFMT) !== (right.mode & ~S_IFMT)) found.push('mode');
  if (left.uid !== right.uid || left.gid !== right.gid) found.push('owner');
  if (!sameXattrs(left.xattrs, right.xattrs)) found.push('xattrs');
  return found;
}

/** Owner, permissions and extended attributes of a node of any type. */
export function attributes(node: Node): DirMeta {
  return node.type === 'dir' ? node.meta : node.header;
}

function sameAttributes(a: DirMeta, b: DirMeta): boolean {
  return a.mode === b.mode && a.uid === b.uid && a.gid === b.gid && sameXattrs(a.xattrs, b.xattrs);
}

/** Folder by folder: `/a/b` before `/a-b`, as the tree is walked. */
function comparePaths(a: string, b: string): number {
  const [left, right] = [a.split('/'), b.split('/')];
  for (let depth = 0; depth < left.length && depth < right.length; depth++) {
    const order = compareNames(left[depth]!, right[depth]!);
    if (order !== 0) return order;
  }
  return left.length - right.length;
}

function addDownloads(repo: Repo, before: Tree | null, changes: Change[]): void {
  const sizes = objectSizes(repo);
  const known = before ? reachable(repo, before) : new Set<string>();
  for (const change of changes) {
    change.download = 0;
    const { after } = change;
    const name = !after
      ? null
      : after.type === 'dir'
        ? `${hash('sha256', encodeDirMeta(after.meta))}.dirmeta`
        : `${after.checksum}.file`;
    if (name === null || known.has(name)) continue;
    known.add(name);
    change.download = sizes(name);
  }
}
