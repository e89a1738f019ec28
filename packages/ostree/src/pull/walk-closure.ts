import { setImmediate as nextTurn } from 'node:timers/promises';
import { OstreeError } from '../errors.ts';
import type { DirTree } from '../formats/dirtree.ts';
import type { Checksum, Tree } from '../formats/object-name.ts';
import { objectPath } from '../repo/objects.ts';
import type { Repo } from '../repo/repo.ts';
import { type KnownFolders, readBeside } from './known-trees.ts';
import { type Place, placeBelow, rootPlace, type Subpaths } from './subpaths.ts';

/** An object that a tree consists of, and one path at which it is. */
export interface NeededObject {
  type: 'dirtree' | 'dirmeta' | 'file';
  checksum: Checksum;
  path: string;
}

export interface RootToWalk {
  tree: Tree;
  /** Root dirtrees that are whole in `knownIn`; what they share with the tree is passed over. */
  known?: readonly Checksum[];
}

export interface WalkOptions {
  knownIn?: Repo;
  /** Where a dirtree is read. Default: in the repository. */
  locate?: (checksum: Checksum) => string;
  /** Only these parts of the trees. */
  subpaths?: Subpaths | undefined;
  signal?: AbortSignal | undefined;
  /** Told of dirtrees that cannot be read; without it they are thrown. Missing ones are passed over either way. */
  onDamaged?: (object: NeededObject, error: OstreeError) => void;
}

const BATCH = 512;
/** After so long other work of this process has its turn: trees are read synchronously, which is much faster. */
const SLICE_MS = 8;

interface Folder {
  checksum: Checksum;
  path: string;
  known: readonly Checksum[];
  place: Place;
}

/**
 * Everything that trees consist of, each object once, in batches. Only dirtrees are read, and checked against
 * their names; whether the other objects are there is for the caller to see.
 *
 * @throws OstreeError `corrupt` for a damaged dirtree
 */
export async function* walkClosure(
  repo: Repo,
  roots: readonly RootToWalk[],
  options: WalkOptions = {},
): AsyncGenerator<NeededObject[]> {
  const seen = new Set<string>();
  const folders: Folder[] = [];
  let batch: NeededObject[] = [];
  const want = (type: 'dirmeta' | 'file', checksum: Checksum, path: string) => {
    const key = type === 'file' ? checksum : `m${checksum}`;
    if (seen.has(key)) return;
    seen.add(key);
    batch.push({ type, checksum, path });
  };
  const { subpaths } = options;
  const descend = (checksum: Checksum, path: string, known: readonly Checksum[], place: Place) => {
    // A folder of which only a part is wanted may be wanted as a whole elsewhere.
    const key = place === null ? `t${checksum}` : `t${checksum}${place}`;
    if (seen.has(key) || known.includes(checksum)) return;
    seen.add(key);
    batch.push({ type: 'dirtree', checksum, path });
    folders.push({ checksum, path, known, place });
  };
  for (const { tree, known = [] } of roots) {
    want('dirmeta', tree.meta, '/');
    descend(tree.contents, '/', known, rootPlace(subpaths));
  }
  let until = Date.now() + SLICE_MS;
  for (let folder = folders.pop(); folder; folder = folders.pop()) {
    const read = readFolder(repo, folder, options);
    if (read) {
      const { tree, known } = read;
      const base = folder.path === '/' ? '/' : `${folder.path}/`;
      for (const [name, checksum] of tree.files) {
        if (known.hasFile(name, checksum) || placeBelow(subpaths, folder.place, name, false) === undefined) continue;
        want('file', checksum, base + name);
      }
      for (const [name, { contents, meta }] of tree.dirs) {
        const place = placeBelow(subpaths, folder.place, name, true);
        if (place === undefined) continue;
        if (!known.hasMeta(name, meta)) want('dirmeta', meta, base + name);
        const below = known.below(name, contents);
        if (below) descend(contents, base + name, below, place);
      }
    }
    if (batch.length >= BATCH) {
      yield batch;
      batch = [];
    }
    if (Date.now() > until) {
      options.signal?.throwIfAborted();
      await nextTurn();
      until = Date.now() + SLICE_MS;
    }
  }
  if (batch.length > 0) yield batch;
}

function readFolder(
  repo: Repo,
  { checksum, path, known }: Folder,
  { onDamaged, locate, knownIn = repo }: WalkOptions,
): { tree: DirTree; known: KnownFolders } | null {
  try {
    const place = locate?.(checksum) ?? objectPath(repo, 'dirtree', checksum);
    return readBeside(place, checksum, { repo: knownIn, known });
  } catch (error) {
    if (!onDamaged || !(error instanceof OstreeError)) throw error;
    onDamaged({ type: 'dirtree', checksum, path }, error);
    return null;
  }
}
