import { randomBytes } from 'node:crypto';
import { lstatSync, readdirSync, readFileSync, realpathSync } from 'node:fs';
import { basename, dirname, join, resolve } from 'node:path';
import { shortPath } from '../connection/folder.ts';
import { CliError } from '../errors.ts';
import { type Home, homePath } from './home.ts';

/** What is remembered of a workspace. */
export interface WorkspaceRecord {
  version: 1;
  /** Where the folder was seen last. It is known by the next two, so it may be moved. */
  path: string;
  inode: string;
  /** When the folder was made, in nanoseconds: an inode's number is used again. '0' where the file system does not say. */
  born: string;
  /** What it is compared with: the commit that was checked out, or the last one that was made here. */
  base: string;
  /** The commit that was checked out, and what it was called. */
  origin: { commit: string; name: string };
  /** `repository:channel` that the commit came by, if it did: what is in production there is what devices get. */
  channel: string | null;
  /** Files are the caller's, without owners, attributes and set-user-id bits. */
  userMode: boolean;
  /** Ref that commits go to; null before the first one. */
  ref: string | null;
  createdAt: string;
  usedAt: string;
}

/** A folder that was checked out to be changed. */
export interface Workspace {
  id: string;
  folder: string;
  record: WorkspaceRecord;
  /** Ref that keeps the base. */
  baseRef: string;
  /** What the folder looked like: see indexCheckout. */
  index: string;
  /** What is /var in it. */
  var: string;
}

/** Refs that keep the bases of workspaces; they are not served. */
export const BASES = 'base/';

export function newWorkspaceId(): string {
  return randomBytes(6).toString('hex');
}

/** A workspace by its id. */
export function workspaceOf(home: Pick<Home, 'workspaces'>, id: string, record: WorkspaceRecord): Workspace {
  const own = join(home.workspaces, id);
  return {
    ...{ id, folder: record.path, record, baseRef: `${BASES}${id}` },
    ...{ index: join(own, 'index'), var: join(own, 'var') },
  };
}

/** What tells a folder from any other, also when it was moved. */
export function identityOf(folder: string): Pick<WorkspaceRecord, 'inode' | 'born'> {
  const { ino, birthtimeNs } = lstatSync(folder, { bigint: true });
  return { inode: String(ino), born: String(birthtimeNs) };
}

/** Writes the record; durable when it resolves. */
export async function saveRecord(home: Pick<Home, 'workspaces'>, id: string, record: WorkspaceRecord): Promise<void> {
  const { writeFileDurably } = await import('@treeline/ostree');
  const path = join(home.workspaces, id, 'record.json');
  await writeFileDurably(path, `${JSON.stringify(record, null, 1)}\n`, { mode: 0o600 });
}

/** All workspaces that are remembered, whether their folders are there or not. */
export function listWorkspaces(home: Pick<Home, 'workspaces'>): Workspace[] {
  return foldersIn(home.workspaces).flatMap((id) => {
    const record = readRecord(join(home.workspaces, id, 'record.json'));
    return record ? [workspaceOf(home, id, record)] : [];
  });
}

function foldersIn(path: string): string[] {
  try {
    return readdirSync(path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
    throw error;
  }
}

/** Null for one that is just being made, or is damaged. */
function readRecord(path: string): WorkspaceRecord | null {
  try {
    const value = JSON.parse(readFileSync(path, 'utf8')) as WorkspaceRecord;
    return value.version === 1 ? value : null;
  } catch {
    return null;
  }
}

/** The workspace that a folder is; null for any other folder. */
export function tryWorkspace(folder: string): Workspace | null {
  let real: string;
  try {
    real = realpathSync(folder);
    if (!lstatSync(real).isDirectory()) return null;
  } catch {
    return null;
  }
  const { inode, born } = identityOf(real);
  const found = listWorkspaces({ workspaces: join(homePath(), 'workspaces') }).find(
    ({ record }) => record.inode === inode && record.born === born && (born !== '0' || record.path === real),
  );
  return found ? { ...found, folder: real, record: { ...found.record, path: real } } : null;
}

/**
 * The workspace at a folder, or the one that the folder is in.
 *
 * @throws CliError `not-found`
 */
export function findWorkspace(folder: string): Workspace {
  for (let path = resolve(folder); ; path = dirname(path)) {
    const found = tryWorkspace(path);
    if (found) return found;
    if (path === dirname(path)) break;
  }
  throw new CliError('not-found', `${shortPath(resolve(folder))} is no workspace.`, {
    hint: 'Make one: treeline checkout robot/stable DIR. What another user checked out is a workspace of his only.',
  });
}

/** The workspace of the current folder, else the one that was used last and is still there. */
export function currentWorkspace(): Workspace | null {
  for (let path = process.cwd(); ; path = dirname(path)) {
    const found = tryWorkspace(path);
    if (found) return found;
    if (path === dirname(path)) break;
  }
  const all = listWorkspaces({ workspaces: join(homePath(), 'workspaces') });
  const last = all
    .sort((a, b) => b.record.usedAt.localeCompare(a.record.usedAt))
    .find(({ folder }) => tryWorkspace(folder));
  return last ?? null;
}

/** How a workspace is called where only a name fits. */
export function nameOf({ folder }: Workspace): string {
  return basename(folder) || 'root';
}
