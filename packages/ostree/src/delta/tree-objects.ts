import type { Checksum, Tree } from '../formats/object-name.ts';
import type { TreeReader } from '../repo/tree-reader.ts';

/** The objects of a tree; files with every path that leads to them. */
export interface TreeObjects {
  dirtrees: Set<Checksum>;
  dirmetas: Set<Checksum>;
  /** Paths without a leading slash. */
  files: Map<Checksum, string[]>;
}

/** Walks a tree. Folders that are there twice are walked twice: each path counts. */
export function treeObjects(reader: TreeReader, tree: Tree): TreeObjects {
  const found: TreeObjects = { dirtrees: new Set(), dirmetas: new Set(), files: new Map() };
  const walk = ({ contents, meta }: Tree, path: string) => {
    found.dirtrees.add(contents);
    found.dirmetas.add(meta);
    const { files, dirs } = reader.dirTree(contents);
    for (const [name, checksum] of files) {
      const paths = found.files.get(checksum);
      if (!paths) found.files.set(checksum, [path + name]);
      // Nobody needs thousands of names of an empty file.
      else if (paths.length < MAX_PATHS) paths.push(path + name);
    }
    for (const [name, dir] of dirs) walk(dir, `${path}${name}/`);
  };
  walk(tree, '');
  return found;
}

const MAX_PATHS = 16;

/** What a delta has to carry. */
export interface NewObjects {
  dirtrees: Checksum[];
  dirmetas: Checksum[];
  files: { checksum: Checksum; paths: readonly string[] }[];
}

/** What `to` has and `from` has not, in the order of the walk. */
export function newObjects(from: TreeObjects | null, to: TreeObjects): NewObjects {
  const lacks = (known: { has(checksum: Checksum): boolean } | undefined) => (checksum: Checksum) =>
    !known?.has(checksum);
  return {
    dirtrees: [...to.dirtrees].filter(lacks(from?.dirtrees)),
    dirmetas: [...to.dirmetas].filter(lacks(from?.dirmetas)),
    files: [...to.files]
      .filter(([checksum]) => lacks(from?.files)(checksum))
      .map(([checksum, paths]) => ({ checksum, paths })),
  };
}
