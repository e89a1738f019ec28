import type { FileHeader } from '../formats/file.ts';
import { type DiffSide, openSide, type SideFile, type SideFolder } from './side.ts';

/** What became of a path. */
export type ChangeKind = 'added' | 'removed' | 'modified';

/** A path that differs, as the walk over both sides finds it. */
export interface PathChange {
  kind: ChangeKind;
  /** Absolute path inside the tree. */
  path: string;
  /**
   * Set below a folder that is itself `added` or `removed`, or that is `replaced` by a file or replaces one. `ostree`
   * names what is in an added folder, but nothing in the other two.
   */
  below: 'added' | 'removed' | 'replaced' | null;
}

/** The same with what is there, for those who want to know more. */
export interface FoundChange extends PathChange {
  before?: SideEntry;
  after?: SideEntry;
}

export type SideEntry = { file: SideFile } | { dir: SideFolder };

/**
 * The paths that differ between two sides, in the order in which `ostree diff` finds them: of each folder the files by
 * name, then the folders by name with what is in them. Equal subtrees of a repository are not read, nor is any content
 * unless a side is a folder on disk; so it costs what changed.
 *
 * @param before null for "nothing": everything in `after` is added
 */
export async function diffPaths(
  before: DiffSide | null,
  after: DiffSide,
  options: { signal?: AbortSignal } = {},
): Promise<PathChange[]> {
  const found = await findChanges(before, after, options.signal);
  return found.map(({ kind, path, below }) => ({ kind, path, below }));
}

/** What diffPaths finds, with handles on both sides. */
export async function findChanges(
  before: DiffSide | null,
  after: DiffSide,
  signal: AbortSignal | undefined,
): Promise<FoundChange[]> {
  const [left, right] = withoutUnknownXattrs(before, after);
  const walk = new Walk(signal);
  if (left) await walk.pair(openSide(left), openSide(right), '');
  else walk.whole(openSide(right));
  return walk.found;
}

/** A repository that keeps no extended attributes cannot say that a folder on disk has others. */
function withoutUnknownXattrs(before: DiffSide | null, after: DiffSide): [DiffSide | null, DiffSide] {
  const plain = [before, after].some(
    (side) =>
      side &&
      'repo' in side &&
      (side.repo.mode === 'bare-user-only' || side.repo.config.get('core')?.get('disable-xattrs') === 'true'),
  );
  if (!plain) return [before, after];
  const strip = <T extends DiffSide | null>(side: T): T =>
    side && 'folder' in side ? { ...side, xattrs: false } : side;
  return [strip(before), strip(after)];
}

class Walk {
  readonly found: FoundChange[] = [];
  readonly #signal: AbortSignal | undefined;

  constructor(signal: AbortSignal | undefined) {
    this.#signal = signal;
  }

  /** Two folders at the same path. */
  async pair(before: SideFolder, after: SideFolder, path: string): Promise<void> {
    this.#signal?.throwIfAborted();
    if (before.metaChecksum() !== after.metaChecksum()) {
      this.#report({ dir: before }, { dir: after }, path || '/', null);
    }
    if (before.contents !== null && before.contents === after.contents) return;
    const [left, right] = [before.list(), after.list()];
    for (const [name, file] of left.files) {
      const here = `${path}/${name}`;
      const other = right.files.get(name);
      const folder = right.dirs.get(name);
      if (other && (await sameFile(file, other))) continue;
      this.#report({ file }, other ? { file: other } : folder && { dir: folder }, here, null);
      if (folder) this.#all('added', folder, here, 'replaced');
    }
    for (const [name, dir] of left.dirs) {
      const here = `${path}/${name}`;
      const other = right.dirs.get(name);
      if (other) {
        await this.pair(dir, other, here);
        continue;
      }
      const file = right.files.get(name);
      this.#report({ dir }, file && { file }, here, null);
      this.#all('removed', dir, here, file ? 'replaced' : 'removed');
    }
    for (const [name, file] of right.files) {
      if (!left.files.has(name) && !left.dirs.has(name)) this.#report(undefined, { file }, `${path}/${name}`, null);
    }
    for (const [name, dir] of right.dirs) {
      if (left.files.has(name) || left.dirs.has(name)) continue;
      this.#report(undefined, { dir }, `${path}/${name}`, null);
      this.#all('added', dir, `${path}/${name}`, 'added');
    }
  }

  /** A tree that has nothing to be compared with. */
  whole(root: SideFolder): void {
    this.#report(undefined, { dir: root }, '/', null);
    this.#all('added', root, '', 'added');
  }

  /** Everything in a folder that is on one side only. */
  #all(kind: 'added' | 'removed', folder: SideFolder, path: string, below: PathChange['below']): void {
    this.#signal?.throwIfAborted();
    const { files, dirs } = folder.list();
    const report = (entry: SideEntry, here: string) =>
      kind === 'added' ? this.#report(undefined, entry, here, below) : this.#report(entry, undefined, here, below);
    for (const [name, file] of files) report({ file }, `${path}/${name}`);
    for (const [name, dir] of dirs) {
      report({ dir }, `${path}/${name}`);
      this.#all(kind, dir, `${path}/${name}`, below);
    }
  }

  #report(before: SideEntry | undefined, after: SideEntry | undefined, path: string, below: PathChange['below']): void {
    const kind = !before ? 'added' : !after ? 'removed' : 'modified';
    this.found.push({ kind, path, below, ...(before ? { before } : {}), ...(after ? { after } : {}) });
  }
}

/** Attributes and size tell most files apart; the content of one on disk is read only where they do not. */
async function sameFile(a: SideFile, b: SideFile): Promise<boolean> {
  if (a.known && b.known) return a.known === b.known;
  const [left, right] = [await a.stat(), await b.stat()];
  if (left.size !== right.size || !sameHeader(left.header, right.header)) return false;
  return (await a.checksum()) === (await b.checksum());
}

function sameHeader(a: FileHeader, b: FileHeader): boolean {
  return (
    a.mode === b.mode &&
    a.uid === b.uid &&
    a.gid === b.gid &&
    a.symlinkTarget === b.symlinkTarget &&
    sameXattrs(a.xattrs, b.xattrs)
  );
}

/** Whether two sorted lists of extended attributes are equal. */
export function sameXattrs(a: FileHeader['xattrs'], b: FileHeader['xattrs']): boolean {
  return (
    a.length === b.length &&
    a.every(
      ([name, value], index) => Buffer.compare(name, b[index]![0]) === 0 && Buffer.compare(value, b[index]![1]) === 0,
    )
  );
}
