import { statSync } from 'node:fs';
import type { DirMeta } from '../formats/dirmeta.ts';
import type { FileHeader } from '../formats/file.ts';
import { S_IFLNK, S_IFMT } from '../formats/mode.ts';
import { type Checksum, compareNames, type Tree } from '../formats/object-name.ts';
import { objectPath, readFileObject } from '../repo/objects.ts';
import type { Repo } from '../repo/repo.ts';
import { type TreeReader, treeReader } from '../repo/tree-reader.ts';

/** What is at a path on one side of a diff. */
export type Node =
  | { type: 'file' | 'symlink'; checksum: Checksum; size: number; header: FileHeader }
  | { type: 'dir'; meta: DirMeta };

export interface Change {
  kind: 'added' | 'removed' | 'modified';
  /** Absolute path inside the tree. */
  path: string;
  before?: Node;
  after?: Node;
}

/**
 * Every path that differs between two trees, sorted by path; below an added or removed folder each file by
 * itself. Equal subtrees are not read, so it costs what changed.
 *
 * @param before null for "nothing": everything in `after` is added
 */
export async function diffTrees(repo: Repo, before: Tree | null, after: Tree): Promise<Change[]> {
  const found: RawChange[] = [];
  compare(treeReader(repo), before, after, '', found);
  const changes: Change[] = [];
  for (const { kind, path, before, after } of found) {
    changes.push({
      kind,
      path,
      ...(before ? { before: await node(repo, before) } : {}),
      ...(after ? { after: await node(repo, after) } : {}),
    });
  }
  return changes;
}

type RawNode = { file: Checksum } | { dir: DirMeta };
interface RawChange {
  kind: Change['kind'];
  path: string;
  before?: RawNode;
  after?: RawNode;
}

function compare(reader: TreeReader, before: Tree | null, after: Tree | null, path: string, found: RawChange[]): void {
  if (before?.meta !== after?.meta) {
    const kind = !before ? 'added' : !after ? 'removed' : 'modified';
    found.push({
      kind,
      path: path || '/',
      ...(before ? { before: { dir: reader.dirMeta(before.meta) } } : {}),
      ...(after ? { after: { dir: reader.dirMeta(after.meta) } } : {}),
    });
  }
  if (before?.contents === after?.contents) return;
  const left = before ? reader.dirTree(before.contents) : NOTHING;
  const right = after ? reader.dirTree(after.contents) : NOTHING;
  const names = new Set([...left.files.keys(), ...left.dirs.keys(), ...right.files.keys(), ...right.dirs.keys()]);
  for (const name of [...names].sort(compareNames)) {
    const here = `${path}/${name}`;
    const [fileBefore, fileAfter] = [left.files.get(name), right.files.get(name)];
    const [dirBefore, dirAfter] = [left.dirs.get(name), right.dirs.get(name)];
    if (dirBefore || dirAfter) compare(reader, dirBefore ?? null, dirAfter ?? null, here, found);
    if (fileBefore === fileAfter) continue;
    const kind = !fileBefore ? 'added' : !fileAfter ? 'removed' : 'modified';
    found.push({
      kind,
      path: here,
      ...(fileBefore ? { before: { file: fileBefore } } : {}),
      ...(fileAfter ? { after: { file: fileAfter } } : {}),
    });
  }
}

const NOTHING = { files: new Map<string, Checksum>(), dirs: new Map<string, Tree>() };

async function node(repo: Repo, raw: RawNode): Promise<Node> {
  if ('dir' in raw) return { type: 'dir', meta: raw.dir };
  const { header, size } = await readFileObject(repo, raw.file);
  const type = (header.mode & S_IFMT) === S_IFLNK ? 'symlink' : 'file';
  return { type, checksum: raw.file, size, header };
}

export interface DownloadSize {
  /** Objects that a holder of `have` lacks, and their bytes as an archive repository serves them. */
  objects: number;
  bytes: number;
  /** The same for somebody who has nothing. */
  totalObjects: number;
  totalBytes: number;
}

/** What a pull of `want` fetches when `have` is there already: objects as stored in this repository. */
export function downloadSize(repo: Repo, have: Tree | null, want: Tree): DownloadSize {
  const reader = treeReader(repo);
  const known = have ? reachable(reader, have) : new Set<string>();
  const size: DownloadSize = { objects: 0, bytes: 0, totalObjects: 0, totalBytes: 0 };
  for (const name of reachable(reader, want)) {
    const [checksum, type] = name.split('.') as [Checksum, 'file' | 'dirtree' | 'dirmeta'];
    const bytes = statSync(objectPath(repo, type, checksum)).size;
    size.totalObjects++;
    size.totalBytes += bytes;
    if (known.has(name)) continue;
    size.objects++;
    size.bytes += bytes;
  }
  return size;
}

/** The names, `<checksum>.<type>`, of all objects of a tree. */
function reachable(reader: TreeReader, tree: Tree): Set<string> {
  const names = new Set<string>();
  const queue = [tree];
  for (let at = queue.pop(); at; at = queue.pop()) {
    names.add(`${at.meta}.dirmeta`);
    if (names.has(`${at.contents}.dirtree`)) continue;
    names.add(`${at.contents}.dirtree`);
    const { files, dirs } = reader.dirTree(at.contents);
    for (const checksum of files.values()) names.add(`${checksum}.file`);
    queue.push(...dirs.values());
  }
  return names;
}
