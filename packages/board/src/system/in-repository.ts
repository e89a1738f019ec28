import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { join } from 'node:path';
import {
  bootableMetadata,
  checkout,
  isRefName,
  openRepo,
  readCommit,
  resolveRev,
  setRef,
  tryResolveRev,
  withTransaction,
  writeCommit,
  writeFolder,
} from '@treeline/ostree';
import { BoardError } from '../errors.ts';
import { type Ostreeified, type OstreeifyOptions, ostreeify } from './ostreeify.ts';

/** A root file system: a folder, a tar, or a commit of a repository. */
export type SystemSource = { path: string } | { repo: string; rev: string };

/** Where the tree goes: a folder, or a commit that becomes a ref. */
export type SystemTarget = { folder: string } | { repo: string; ref: string; subject?: string | undefined };

export interface SystemMade extends Omit<Ostreeified, 'path'> {
  folder: string | null;
  commit: string | null;
}

/**
 * `ostreeify` from and to repositories. What is in between is in `work`, a folder on a disk with room for the system twice,
 * and is removed.
 *
 * @throws BoardError as `ostreeify`; OstreeError of the repositories
 */
export async function makeSystem(
  source: SystemSource,
  target: SystemTarget,
  o: OstreeifyOptions & { work: string },
): Promise<SystemMade> {
  // What is wrong with the place should be said before minutes are spent on what goes there.
  if ('ref' in target) {
    if (!isRefName(target.ref)) {
      throw new BoardError('invalid', `"${target.ref}" is no name for a ref`, {
        hint: 'Letters, digits and ._- with slashes between, such as os/base.',
      });
    }
    await openRepo(target.repo);
  }
  await mkdir(o.work, { recursive: true });
  const work = await mkdtemp(join(o.work, '.treeline-system-'));
  try {
    let from: string;
    let timestamp: number | undefined;
    if ('path' in source) from = source.path;
    else {
      const repo = await openRepo(source.repo);
      const { tree, timestamp: time } = await readCommit(repo, await resolveRev(repo, source.rev));
      from = join(work, 'source');
      timestamp = time;
      await checkout(repo, tree, from, { hardLink: false, ...(o.signal ? { signal: o.signal } : {}) });
    }
    const folder = 'folder' in target ? target.folder : join(work, 'tree');
    const { path, ...made } = await ostreeify(from, folder, o);
    if ('folder' in target) return { ...made, folder: path, commit: null };
    return { ...made, folder: null, commit: await commitTree(path, target, timestamp, o.signal) };
  } finally {
    await rm(work, { recursive: true, force: true });
  }
}

/** What was made of a commit has its time: the same input gives the same commit then. */
async function commitTree(
  folder: string,
  target: { repo: string; ref: string; subject?: string | undefined },
  timestamp: number | undefined,
  signal: AbortSignal | undefined,
): Promise<string> {
  const repo = await openRepo(target.repo);
  const parent = await tryResolveRev(repo, target.ref);
  const commit = await withTransaction(
    repo,
    async (tx) => {
      const tree = await writeFolder(tx, folder, { statCache: false });
      return await writeCommit(tx, {
        tree,
        parent,
        subject: target.subject ?? 'Made bootable by treeline ostreeify',
        metadata: bootableMetadata(tx, tree, []),
        ...(timestamp === undefined ? {} : { timestamp }),
      });
    },
    signal === undefined ? {} : { signal },
  );
  await setRef(repo, target.ref, commit);
  return commit;
}
