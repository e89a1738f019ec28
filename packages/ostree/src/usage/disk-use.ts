import { lstatSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { type DeltaName, deltaFolder } from '../delta/names.ts';
import { listDeltas } from '../delta/stored.ts';
import { systemCode } from '../errors.ts';
import type { Checksum } from '../formats/object-name.ts';
import { withParents } from '../repo/parents.ts';
import type { Repo } from '../repo/repo.ts';
import { type Amount, BLOCK_BYTES, type DeltaAmount, noDeltas } from './amount.ts';
import type { CountedFiles } from './counted-files.ts';
import { OBJECT_FOLDER, ObjectTable, type OtherFiles } from './object-table.ts';
import { Reach, type Reached } from './reach.ts';

/** Commits whose use of the disk is asked for together: those of a ref, of a release. */
export interface DiskUseRoot {
  name: string;
  commits: readonly Checksum[];
  /** The same in more detail: parts are held against all parts of all roots. */
  parts?: readonly DiskUseRoot[];
}

/** What a root takes. */
export interface RootDiskUse extends Reached {
  name: string;
  /** Static deltas that lead to its commits. */
  deltas: DeltaAmount;
  parts: RootDiskUse[];
}

/** What a repository takes. */
export interface DiskUse {
  /** All objects. Detached metadata is counted to its commit. */
  objects: Amount;
  /** Those that no root reaches. */
  unreferenced: Amount;
  /** All static deltas. */
  deltas: DeltaAmount;
  /** Everything else in the repository's folder: refs, summary, delta indexes, what is being written, what is cached. */
  other: OtherFiles;
  /** Of all this, what was counted in another repository before: see `counted`. */
  counted: { bytes: number; allocated: number };
  /** In the order of the question. */
  roots: RootDiskUse[];
}

/** What is counted, and with what. */
export interface DiskUseOptions {
  /** Of several repositories that share files by hard links: give each the same one, and each file is counted once. */
  counted?: CountedFiles;
  signal?: AbortSignal;
}

/**
 * What a repository takes on the disk, and which commits are to blame: what each root takes in all, what it alone
 * needs (deleting its commits frees that, except what has other hard links), and what it shares with other roots.
 *
 * Every file is looked at once and every folder object read once, however many commits have it. Sizes are those of
 * the files as they are stored. Folders of the file system itself are not counted. What comes or goes meanwhile may
 * be counted or not.
 *
 * @throws OstreeError `corrupt` for a commit or a dirtree that cannot be read; what is not there is no error, but
 *   counted as `missing`
 */
export async function diskUse(
  repo: Repo,
  roots: readonly DiskUseRoot[] = [],
  options: DiskUseOptions = {},
): Promise<DiskUse> {
  const { counted, signal } = options;
  signal?.throwIfAborted();
  const repos = withParents(repo);
  const table = await ObjectTable.read(repos, { counted, signal });
  const reach = new Reach(repos, table, signal);
  const all = await reach.measure([]);
  const deltas = await measureDeltas(repo);
  const { sets, unreached } = await reach.measure(roots.map(({ commits }) => commits));
  const parts = roots.flatMap((root) => root.parts ?? []);
  const partSets = parts.length > 0 ? (await reach.measure(parts.map(({ commits }) => commits))).sets : [];
  const deltaAmount = ({ commits }: DiskUseRoot) => sumDeltas(deltas, new Set(commits));
  let next = 0;
  const view = (root: DiskUseRoot, reached: Reached): RootDiskUse => ({
    name: root.name,
    ...reached,
    deltas: deltaAmount(root),
    parts: (root.parts ?? []).map((part) => ({
      name: part.name,
      ...partSets[next++]!,
      deltas: deltaAmount(part),
      parts: [],
    })),
  });
  const other = otherFiles(repo);
  return {
    objects: all.unreached,
    unreferenced: unreached,
    deltas: sumDeltas(deltas, null),
    other: {
      files: other.files + table.other.files,
      bytes: other.bytes + table.other.bytes,
      allocated: other.allocated + table.other.allocated,
    },
    counted: table.counted,
    roots: roots.map((root, index) => view(root, sets[index]!)),
  };
}

interface MeasuredDelta extends DeltaName {
  bytes: number;
  allocated: number;
}

async function measureDeltas(repo: Repo): Promise<MeasuredDelta[]> {
  return (await listDeltas(repo)).map((delta) => ({
    ...delta,
    ...filesBelow(join(repo.path, deltaFolder(delta.from, delta.to))),
  }));
}

/** @param to only deltas to one of these commits; null: all */
function sumDeltas(deltas: readonly MeasuredDelta[], to: ReadonlySet<Checksum> | null): DeltaAmount {
  const sum = noDeltas();
  for (const delta of deltas) {
    if (to !== null && !to.has(delta.to)) continue;
    sum.deltas++;
    sum.bytes += delta.bytes;
    sum.allocated += delta.allocated;
  }
  return sum;
}

/** What is neither an object nor a delta. What is left of a delta that was not finished is here, too. */
function otherFiles(repo: Repo): OtherFiles {
  const sum: OtherFiles = { files: 0, bytes: 0, allocated: 0 };
  const add = ({ files, bytes, allocated }: OtherFiles) => {
    sum.files += files;
    sum.bytes += bytes;
    sum.allocated += allocated;
  };
  for (const name of namesIn(repo.path)) {
    if (name === 'objects' || name === 'deltas') continue;
    add(filesBelow(join(repo.path, name)));
  }
  for (const name of namesIn(join(repo.path, 'objects'))) {
    if (!OBJECT_FOLDER.test(name)) add(filesBelow(join(repo.path, 'objects', name)));
  }
  for (const prefix of namesIn(join(repo.path, 'deltas'))) {
    for (const name of namesIn(join(repo.path, 'deltas', prefix))) {
      const folder = join(repo.path, 'deltas', prefix, name);
      if (!lstatSync(join(folder, 'superblock'), { throwIfNoEntry: false })) add(filesBelow(folder));
    }
  }
  return sum;
}

/** All files below a path, symlinks as such. */
function filesBelow(path: string): OtherFiles {
  const stats = lstatSync(path, { throwIfNoEntry: false });
  if (!stats) return { files: 0, bytes: 0, allocated: 0 };
  if (!stats.isDirectory()) return { files: 1, bytes: stats.size, allocated: stats.blocks * BLOCK_BYTES };
  const sum: OtherFiles = { files: 0, bytes: 0, allocated: 0 };
  for (const name of namesIn(path)) {
    const below = filesBelow(join(path, name));
    sum.files += below.files;
    sum.bytes += below.bytes;
    sum.allocated += below.allocated;
  }
  return sum;
}

function namesIn(path: string): string[] {
  try {
    return readdirSync(path);
  } catch (error) {
    const code = systemCode(error);
    if (code === 'ENOENT' || code === 'ENOTDIR') return [];
    throw error;
  }
}
