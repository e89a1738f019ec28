import { rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { OstreeError } from '../errors.ts';
import { lockRepo } from '../repo/lock.ts';
import { openRepo, type Repo } from '../repo/repo.ts';
import { publishSummary } from '../summary/publish.ts';
import { openCopy } from './folder.ts';
import { type Inventory, isSameFile, readIfThere, takeInventory } from './inventory.ts';
import { type CopyMode, Placer } from './placer.ts';
import { deleteUnwanted, removeEmptyFolders } from './retire.ts';

/** How a copy for a web server is made. */
export interface ExportStaticOptions {
  /** Hard links or copies. Default `auto`. */
  mode?: CopyMode;
  /**
   * Deletes what the repository does not have any more: what names other things at once, those so many seconds after an
   * export with this option saw it first. Default: nothing is deleted.
   */
  deleteAfter?: number;
  /** Seconds for which a new summary's signatures are there before it and the old ones after: see publishSummary. */
  grace?: number;
  /** Told of each file that is put in place. */
  onProgress?: (progress: { done: number; total: number }) => void;
  signal?: AbortSignal;
}

/** What an export did. */
export interface ExportedStatic {
  /** Objects, and files of deltas, that were not there. */
  files: number;
  /** Bytes that were copied rather than linked. */
  bytesCopied: number;
  /** Refs that were set or moved. */
  refs: number;
  /** Whether there is a new summary. */
  summary: boolean;
  /** Files that were deleted, and those that wait to be. */
  deleted: number;
  waiting: number;
}

/**
 * Makes or updates a copy of a repository that a plain web server can serve: everything that clients ask for, and
 * nothing else. Only what is new is touched. Whoever reads the copy meanwhile finds everything that it tells of: things
 * come in the order of a release (objects, commits, deltas, refs, delta indexes, summary) and go in the reverse one.
 * Interrupted, it goes on where it was.
 *
 * The repository is locked against deletion while files are taken from it; publishing into it goes on.
 *
 * @throws OstreeError `not-found`, `unsupported` for a repository that is no archive, `exists` for a folder that holds
 *   something else, `invalid` for one in the repository, `io`
 */
export async function exportStatic(
  source: string,
  folder: string,
  options: ExportStaticOptions = {},
): Promise<ExportedStatic> {
  const { signal, grace = 0, mode = 'auto' } = options;
  signal?.throwIfAborted();
  const repo = await openRepo(source);
  if (repo.mode !== 'archive') {
    throw new OstreeError('unsupported', `${source}: a ${repo.mode} repository cannot be served over HTTP`, {
      hint: 'Copy what is to be served into an archive repository.',
    });
  }
  const copy = await openCopy(repo, folder, signal);
  const root = copy.repo.path;
  try {
    const placer = new Placer(repo.path, root, { mode, waiting: copy.waiting, signal });
    const unlock = await lockRepo(repo, 'shared', signal);
    let pair: Pair;
    let taken: Taken;
    try {
      pair = readPair(repo.path);
      taken = {
        wanted: await takeInventory(repo.path, signal),
        there: await takeInventory(root, signal),
      };
      await bringObjects(placer, taken, { from: repo.path, to: root, onProgress: options.onProgress });
    } finally {
      unlock();
    }
    const files = placer.placed;
    const refs = bringNames(placer, taken, root);
    if (placer.written > 0) placer.settle();
    const summary = await bringSummary(copy.repo, pair, { grace, ...(signal && { signal }) });
    const gone =
      options.deleteAfter === undefined
        ? { deleted: 0, waiting: 0 }
        : await deleteUnwanted(root, taken, { seconds: options.deleteAfter, signal });
    return { files, bytesCopied: placer.bytes, refs, summary, ...gone };
  } finally {
    copy.release();
  }
}

interface Taken {
  wanted: Inventory;
  there: Inventory;
}

async function bringObjects(
  placer: Placer,
  { wanted, there }: Taken,
  o: { from: string; to: string; onProgress: ExportStaticOptions['onProgress'] },
): Promise<void> {
  const differs = (path: string) => !isSameFile(join(o.from, path), join(o.to, path));
  const parts = [...wanted.parts].filter((path) => !there.parts.has(path));
  const detached = [...wanted.detached].filter((path) => !there.detached.has(path) || differs(path));
  const commits = [...wanted.commits].filter((path) => !there.commits.has(path));
  const deltas = [...wanted.deltas].filter(([folder]) => !there.deltas.has(folder) || differs(`${folder}/superblock`));
  const deltaParts = deltas.flatMap(([folder, files]) =>
    files.filter((file) => file !== 'superblock').map((file) => `${folder}/${file}`),
  );
  const superblocks = deltas.map(([folder]) => `${folder}/superblock`);
  const steps = [parts, detached, commits, deltaParts, superblocks];
  const total = steps.reduce((sum, step) => sum + step.length, 0);
  let done = 0;
  for (const step of steps) {
    await placer.place(step, () => o.onProgress?.({ done: ++done, total }));
    // What is there is taken for whole the next time, so what it needs has to be there for good before it.
    if (step.length > 0) placer.settle();
  }
}

/** Refs, and then delta indexes. Returns how many refs were set. */
function bringNames(placer: Placer, { wanted, there }: Taken, root: string): number {
  let refs = 0;
  for (const [path, commit] of wanted.refs) {
    if (there.refs.get(path) === commit) continue;
    for (const other of there.refs.keys()) {
      // A ref that is gone may be in the way of one below it, or above it.
      if (!other.startsWith(`${path}/`) && !path.startsWith(`${other}/`)) continue;
      rmSync(join(root, other), { force: true });
      removeEmptyFolders(root, dirname(other));
    }
    placer.write(path, commit);
    refs++;
  }
  for (const [path, data] of wanted.indexes) if (!there.indexes.get(path)?.equals(data)) placer.write(path, data);
  return refs;
}

interface Pair {
  summary: Buffer | null;
  signature: Buffer | null;
}

/** A summary and the signatures that it has: the latter are the same before and after it is read. */
function readPair(root: string): Pair {
  const [summary, signatures] = [join(root, 'summary'), join(root, 'summary.sig')];
  for (;;) {
    const before = readIfThere(signatures);
    const pair = { summary: readIfThere(summary), signature: readIfThere(signatures) };
    if (before === pair.signature || (before && pair.signature?.equals(before))) return pair;
  }
}

async function bringSummary(
  copy: Repo,
  { summary, signature }: Pair,
  options: { grace: number; signal?: AbortSignal },
): Promise<boolean> {
  const there = readPair(copy.path);
  const same = (a: Buffer | null, b: Buffer | null) => (a && b ? a.equals(b) : a === b);
  if (same(there.summary, summary) && same(there.signature, signature)) return false;
  if (summary) await publishSummary(copy, summary, signature, options);
  else for (const file of ['summary.sig', 'summary']) rmSync(join(copy.path, file), { force: true });
  return true;
}
