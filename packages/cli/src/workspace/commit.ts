import { hostname, userInfo } from 'node:os';
import type { Checksum, Metadata, Repo, Transaction, Tree } from '@treeline/ostree';
import { CliError } from '../errors.ts';
import { type Home, openHome } from './home.ts';
import { withoutMountPoints } from './ignored.ts';
import { nameOf, saveRecord, type Workspace } from './record.ts';

export interface CommitOptions {
  /** Ref to move. Default: the one of the last commit here, `dev/<user>/<folder>` for the first. */
  ref?: string;
  message?: string;
  /** Whose new files are, in a workspace in user mode. Default root. */
  owner?: { uid: number; gid: number };
  signal: AbortSignal;
}

/** A commit of a workspace. */
export interface Committed {
  home: Home;
  /** Null when nothing was changed. */
  commit: Checksum | null;
  ref: string;
  base: Checksum;
  before: Tree;
  after: Tree;
}

/** Metadata of the base that is true of what was made from it, too. */
const INHERITED = new Set(['ostree.bootable', 'ostree.linux']);

/** Commits a workspace into the developer's repository. Nothing that was not changed is read. */
export async function commitWorkspace(workspace: Workspace, o: CommitOptions): Promise<Committed> {
  const { readCommit, withTransaction, writeCommit } = await import('@treeline/ostree');
  const home = await openHome();
  const { repo } = home;
  const { record } = workspace;
  const base = await readCommit(repo, record.base);
  const ref = o.ref ?? (await chooseRef(repo, workspace));
  assertRef(ref, await import('@treeline/ostree'));
  const stored = await withTransaction(
    repo,
    async (tx) => {
      const after = await writeTree(tx, workspace, base.tree, o.owner);
      if (after.contents === base.tree.contents && after.meta === base.tree.meta) return { after, commit: null };
      const metadata: Metadata = [
        ['ostree.ref-binding', { type: 'as', value: [ref] }],
        ...base.metadata.filter(([name]) => INHERITED.has(name)),
      ];
      const { subject, body } = messageOf(o.message ?? `Change ${record.origin.name} in ${nameOf(workspace)}`);
      const commit = await writeCommit(tx, { tree: after, parent: record.base, subject, body, metadata });
      tx.setRef(ref, commit);
      tx.setRef(workspace.baseRef, commit);
      return { after, commit };
    },
    { signal: o.signal },
  );
  const { commit, after } = stored;
  const used = { ...record, path: workspace.folder, usedAt: new Date().toISOString() };
  await saveRecord(home, workspace.id, commit ? { ...used, base: commit, ref } : used);
  return { home, commit, ref, base: record.base, before: base.tree, after };
}

/** The tree of a workspace as it is now, stored without a commit, and that of its base. */
export async function treeNow(
  home: Home,
  workspace: Workspace,
  signal: AbortSignal,
): Promise<{ base: Tree; now: Tree; changed: boolean }> {
  const { readCommit, withTransaction } = await import('@treeline/ostree');
  const { tree: base } = await readCommit(home.repo, workspace.record.base);
  const now = await withTransaction(home.repo, (tx) => writeTree(tx, workspace, base, undefined), { signal });
  return { base, now, changed: now.contents !== base.contents || now.meta !== base.meta };
}

async function writeTree(
  tx: Transaction,
  workspace: Workspace,
  base: Tree,
  owner: CommitOptions['owner'],
): Promise<Tree> {
  const { lookUp, treeReader, writeFolder } = await import('@treeline/ostree');
  const reader = treeReader(tx.repo);
  return writeFolder(tx, workspace.folder, {
    base,
    indexFile: workspace.index,
    filter: withoutMountPoints(workspace.folder, (path) => lookUp(reader, base, path) !== null),
    ...(workspace.record.userMode ? { checkedOut: { tree: base, ...(owner ? { owner } : {}) } } : {}),
  });
}

/** `dev/<user>/<folder>`, with a number if another workspace has that. */
async function chooseRef(repo: Repo, workspace: Workspace): Promise<string> {
  if (workspace.record.ref) return workspace.record.ref;
  const { readRef } = await import('@treeline/ostree');
  const name = `dev/${refPart(userInfo().username)}/${refPart(nameOf(workspace))}`;
  for (let number = 1; ; number++) {
    const ref = number === 1 ? name : `${name}-${number}`;
    if ((await readRef(repo, ref)) === null) return ref;
  }
}

/** A text as a part of a ref. */
function refPart(text: string): string {
  return text.replace(/[^\w.-]+/g, '-').replace(/^[.-]+/, '') || hostname();
}

function assertRef(ref: string, { isRefName }: { isRefName: (name: string) => boolean }): void {
  if (isRefName(ref) && !ref.startsWith('base/')) return;
  throw new CliError('usage', `"${ref}" cannot be the name of a ref.`, { hint: 'Write it like this: dev/ana/robot' });
}

/** The first line is the subject, what follows an empty line the body. */
function messageOf(text: string): { subject: string; body: string } {
  const [subject = '', ...rest] = text.trimEnd().split('\n');
  return { subject, body: rest.join('\n').trimStart() };
}
