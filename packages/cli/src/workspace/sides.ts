import { existsSync } from 'node:fs';
import { join } from 'node:path';
import type { Tree } from '@treeline/ostree';
import type { DeviceDetail } from '@treeline/server';
import { shortPath } from '../connection/folder.ts';
import type { GlobalOptions } from '../connection/server.ts';
import { CliError } from '../errors.ts';
import { shortId } from '../output/words.ts';
import { resolveCommit } from '../revisions.ts';
import { clientOf, type Session } from '../session.ts';
import { bring } from './bring.ts';
import { treeNow } from './commit.ts';
import { type Home, homePath, openHome } from './home.ts';
import { productionChannel } from './production.ts';
import { currentWorkspace, tryWorkspace, type Workspace } from './record.ts';

/** One of two things that are compared. */
export type Side =
  /** A commit that the server has. */
  | { kind: 'server'; name: string; commit: string }
  /** A commit that may be in the developer's repository only, or at one of these addresses. */
  | { kind: 'elsewhere'; name: string; commit: string; at: readonly string[] }
  /** A workspace as it is on disk now. */
  | { kind: 'workspace'; name: string; workspace: Workspace };

type Context = { session: Session; options: GlobalOptions };

/**
 * What a text names: `mine` (the workspace of the current folder, else the last one that was used), `production`, a
 * workspace's folder, `device:ID`, a ref of the developer's repository, or whatever the server knows by the name.
 *
 * @throws CliError `not-found`
 */
export async function readSide(text: string, context: Context): Promise<Side> {
  if (text === 'mine') return workspaceSide(requireCurrent());
  const workspace = tryWorkspace(text);
  if (workspace) return workspaceSide(workspace);
  if (text.startsWith('device:')) return deviceSide(text.slice('device:'.length), context);
  const own = await ownCommit(text, false);
  if (own) return { kind: 'elsewhere', name: text, commit: own, at: [] };
  try {
    const client = clientOf(context.session, context.options);
    return { kind: 'server', name: text, commit: await resolveCommit(client, text) };
  } catch (error) {
    if (!(error instanceof CliError)) throw error;
    if (text === 'production' && error.code === 'not-found') {
      const client = clientOf(context.session, context.options);
      const name = await productionChannel(client, currentWorkspace());
      return { kind: 'server', name, commit: await resolveCommit(client, name) };
    }
    const commit = error.code === 'not-found' || error.code === 'unreachable' ? await ownCommit(text, true) : null;
    if (commit) return { kind: 'elsewhere', name: text, commit, at: [] };
    throw error;
  }
}

/** What a device runs, and the channel that it follows. */
export async function deviceSide(
  id: string,
  context: Context,
): Promise<Side & { kind: 'elsewhere'; channel: string | null }> {
  const client = clientOf(context.session, context.options);
  const device = await client.get<DeviceDetail>(`devices/${encodeURIComponent(id)}`);
  const { current, fetchedFrom } = device;
  if (!current) {
    throw new CliError('not-found', `The device ${id} has not said yet what it runs.`, {
      hint: `treeline devices show ${id}`,
    });
  }
  const channel = device.channel === null ? null : `${device.repository}:${device.channel}`;
  return { kind: 'elsewhere', name: id, commit: current, at: fetchedFrom ? [fetchedFrom] : [], channel };
}

function requireCurrent(): Workspace {
  const workspace = currentWorkspace();
  if (workspace) return workspace;
  throw new CliError('not-found', 'There is no workspace yet that could be "mine".', {
    hint: 'Make one: treeline checkout production DIR',
  });
}

function workspaceSide(workspace: Workspace): Side {
  return { kind: 'workspace', name: shortPath(workspace.folder), workspace };
}

/** A commit of the developer's repository: by ref, or also by checksum. */
async function ownCommit(text: string, byChecksum: boolean): Promise<string | null> {
  const path = join(homePath(), 'repo');
  if (!existsSync(join(path, 'config'))) return null;
  const { isRefName, openRepo, readRef, tryResolveRev } = await import('@treeline/ostree');
  const repo = await openRepo(path);
  if (byChecksum) return tryResolveRev(repo, text).catch(() => null);
  return isRefName(text) ? readRef(repo, text) : null;
}

/** A side whose tree is in the developer's repository, with all that is in it. */
export interface Laid {
  tree: Tree;
  /** Null for a workspace that was changed since its last commit. */
  commit: string | null;
  /** As it is shown. */
  label: string;
}

/** Brings what a side needs into the developer's repository. */
export async function layOut(side: Side, context: Context): Promise<Laid & { home: Home }> {
  const { readCommit } = await import('@treeline/ostree');
  const home = await openHome();
  const { signal } = context.session;
  if (side.kind === 'workspace') {
    const { now, changed } = await treeNow(home, side.workspace, signal);
    const { base } = side.workspace.record;
    const label = changed ? `${side.name} (not committed)` : `${side.name} ${shortId(base)}`;
    return { home, tree: now, commit: changed ? null : base, label };
  }
  const { name, commit } = side;
  await bring(home.repo, commit, {
    options: context.options,
    alsoAt: side.kind === 'elsewhere' ? side.at : [],
    signal,
  });
  const label = commit.startsWith(name) ? shortId(commit) : `${name} ${shortId(commit)}`;
  return { home, tree: (await readCommit(home.repo, commit)).tree, commit, label };
}
