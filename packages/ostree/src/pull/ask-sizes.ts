import { lstatSync } from 'node:fs';
import { OstreeError } from '../errors.ts';
import { type DirTree, decodeDirTree } from '../formats/dirtree.ts';
import { type Checksum, loosePath, type Tree } from '../formats/object-name.ts';
import { assertHash, hasObject, MAX_METADATA_BYTES, objectPath, readFileObject } from '../repo/objects.ts';
import type { Repo } from '../repo/repo.ts';
import { MAX_REQUESTS } from './http.ts';
import { inParallel } from './in-parallel.ts';
import { KnownFolders, readDirTreeSync } from './known-trees.ts';
import { missing } from './missing-object.ts';
import type { LackingObjects } from './prediction.ts';
import type { Remote } from './remote.ts';
import { type Place, placeBelow, rootPlace, type Subpaths } from './subpaths.ts';

/** A filez begins with the length of its header, four zeros, and the size of its content, big-endian. */
const FILEZ_START = 16;

interface Folder {
  checksum: Checksum;
  known: readonly Checksum[];
  place: Place;
}

/**
 * Finds out what trees lack here by asking the remote for their folders and for the start of each file: some hundred
 * bytes an object instead of the object. Nothing is stored.
 *
 * @param roots trees, each with dirtrees of complete local trees to hold it against
 * @throws OstreeError `not-found`, `corrupt`, `network`
 */
export async function askSizes(
  repo: Repo,
  remote: Remote,
  roots: readonly { tree: Tree; known: readonly Checksum[] }[],
  subpaths?: Subpaths,
): Promise<LackingObjects> {
  const found: LackingObjects = { objects: 0, archived: 0, unpacked: 0 };
  const count = (archived: number, unpacked: number) => {
    found.objects++;
    found.archived += archived;
    found.unpacked += unpacked;
  };
  const seen = new Set<string>();
  const first = (key: string) => !seen.has(key) && Boolean(seen.add(key));
  const files: Checksum[] = [];
  const metas: Checksum[] = [];
  const wantMeta = (meta: Checksum) => {
    if (first(`m${meta}`) && !hasObject(repo, 'dirmeta', meta)) metas.push(meta);
  };
  const wantFile = (file: Checksum) => {
    if (first(file) && !hasObject(repo, 'file', file)) files.push(file);
  };
  let folders: Folder[] = [];
  for (const { tree, known } of roots) {
    wantMeta(tree.meta);
    const place = rootPlace(subpaths);
    if (first(keyOf(tree.contents, place)) && !known.includes(tree.contents)) {
      folders.push({ checksum: tree.contents, known, place });
    }
  }
  while (folders.length > 0) {
    const next: Folder[] = [];
    await inParallel(folders, MAX_REQUESTS, async ({ checksum, known, place }) => {
      const { tree, size } = await readFolder(repo, remote, checksum);
      if (size > 0 && first(`fetched ${checksum}`)) count(size, size);
      const here = KnownFolders.read(repo, known);
      for (const [name, file] of tree.files) {
        if (!here.hasFile(name, file) && placeBelow(subpaths, place, name, false) !== undefined) wantFile(file);
      }
      for (const [name, { contents, meta }] of tree.dirs) {
        const inner = placeBelow(subpaths, place, name, true);
        if (inner === undefined) continue;
        if (!here.hasMeta(name, meta)) wantMeta(meta);
        const below = here.below(name, contents);
        if (below && first(keyOf(contents, inner))) next.push({ checksum: contents, known: below, place: inner });
      }
    });
    folders = next;
  }
  await inParallel(metas, MAX_REQUESTS, async (checksum) => {
    const size = (await metadata(remote, checksum, 'dirmeta')).length;
    count(size, size);
  });
  await inParallel(files, MAX_REQUESTS, async (checksum) => count(...(await fileSizes(remote, checksum))));
  return found;
}

function keyOf(contents: Checksum, place: Place): string {
  return `t${contents}${place ?? ''}`;
}

/** A folder, and the bytes that are to be fetched for it. */
async function readFolder(repo: Repo, remote: Remote, checksum: Checksum): Promise<{ tree: DirTree; size: number }> {
  const here = readDirTreeSync(objectPath(repo, 'dirtree', checksum), checksum);
  if (here) return { tree: here, size: 0 };
  const data = await metadata(remote, checksum, 'dirtree');
  return { tree: decodeDirTree(data, `${checksum}.dirtree`), size: data.length };
}

async function metadata(remote: Remote, checksum: Checksum, type: 'dirtree' | 'dirmeta'): Promise<Buffer> {
  const data = await remote.file(`objects/${loosePath(checksum, type)}`, MAX_METADATA_BYTES);
  if (!data) throw lost(remote, checksum, type);
  assertHash(data, checksum, type);
  return data;
}

function lost(remote: Remote, checksum: Checksum, extension: 'dirtree' | 'dirmeta' | 'filez'): OstreeError {
  if (remote.source) return missing(remote.source, checksum, extension);
  const object = `${checksum}.${extension}`;
  return new OstreeError('not-found', `${remote.where}: has no object ${object}`, { object });
}

async function fileSizes(remote: Remote, checksum: Checksum): Promise<[archived: number, unpacked: number]> {
  if (remote.repo) {
    const { size } = await readFileObject(remote.repo, checksum);
    return [lstatSync(objectPath(remote.repo, 'file', checksum)).size, size];
  }
  const sizes = await remote.source!.get(
    `objects/${loosePath(checksum, 'filez')}`,
    async ({ body, headers, length, status }): Promise<[number, number]> => {
      let start = Buffer.alloc(0);
      for await (const chunk of body) {
        start = Buffer.concat([start, chunk]);
        if (start.length >= FILEZ_START) break;
      }
      const whole = status === 206 ? Number(headers['content-range']?.split('/')[1]) : length;
      const unpacked = start.length < FILEZ_START ? 0 : Number(start.readBigUInt64BE(8));
      return [Number.isSafeInteger(whole) ? whole! : start.length, Number.isSafeInteger(unpacked) ? unpacked : 0];
    },
    () => ({ range: `bytes=0-${FILEZ_START - 1}` }),
  );
  if (!sizes) throw lost(remote, checksum, 'filez');
  return sizes;
}
