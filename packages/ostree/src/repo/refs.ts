import { readdir, readFile, rmdir, unlink } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { OstreeError, systemCode } from '../errors.ts';
import { assertChecksum, type Checksum, compareNames, isChecksum } from '../formats/object-name.ts';
import { syncFolder, writeFileDurably } from '../fs/durable.ts';
import { readCommit } from './objects.ts';
import type { Repo } from './repo.ts';

/**
 * `OSTREE_REF_REGEXP`: parts of letters and digits (of any script), `-`, `.`, `_`, that begin with none of the first
 * two, joined by slashes.
 */
const REF = /^[\p{L}\p{N}_][\p{L}\p{N}_.-]*(\/[\p{L}\p{N}_][\p{L}\p{N}_.-]*)*$/u;
const REMOTE_REF = /^(?:([\p{L}\p{N}_.-]+):)?(.+)$/u;

/**
 * Where a ref's file is: `refs/heads/NAME`, or `refs/remotes/REMOTE/NAME` for `REMOTE:NAME`.
 *
 * @throws OstreeError `invalid` for a name that no ref can have
 */
export function refPath(repo: Repo, name: string): string {
  const [, remote, ref] = REMOTE_REF.exec(name) ?? [];
  if (!ref || !isRefName(ref) || (remote !== undefined && !isRefName(remote))) {
    throw new OstreeError('invalid', `${JSON.stringify(name)} cannot be the name of a ref`, {
      hint: 'A ref is made of letters, digits, "-", "_", "." and "/" between parts, for example robot/edge.',
    });
  }
  return remote ? join(repo.path, 'refs/remotes', remote, ref) : join(repo.path, 'refs/heads', ref);
}

/** Whether a ref can have this name (without a remote). */
export function isRefName(name: string): boolean {
  return REF.test(name) && !name.split('/').some((part) => part === '.' || part === '..');
}

/** The commit that a ref names, or null when there is no such ref. Aliases (symlinks) are followed. */
export async function readRef(repo: Repo, name: string): Promise<Checksum | null> {
  const path = refPath(repo, name);
  try {
    const text = (await readFile(path, 'latin1')).trimEnd();
    if (isChecksum(text)) return text;
  } catch (error) {
    const code = systemCode(error);
    if (code === 'ENOENT' || code === 'ENOTDIR' || code === 'EISDIR') return null;
    throw error;
  }
  throw new OstreeError('corrupt', `${path}: does not hold a checksum`);
}

/**
 * Points a ref at a commit, durably, or deletes it (`null`). The commit is not looked up.
 *
 * @throws OstreeError `exists` when the name is a folder of other refs, or lies below another ref
 */
export async function setRef(repo: Repo, name: string, commit: Checksum | null): Promise<void> {
  const path = refPath(repo, name);
  if (commit === null) {
    await deleteRef(repo, path);
    return;
  }
  assertChecksum(commit);
  try {
    await writeFileDurably(path, `${commit}\n`);
  } catch (error) {
    const code = systemCode(error);
    if (code === 'EISDIR' || code === 'ENOTDIR' || code === 'EEXIST' || code === 'ENOTEMPTY') {
      throw new OstreeError('exists', `ref ${name}: another ref is in the way`, {
        hint: 'A ref cannot be both a ref and a folder of refs: a and a/b do not go together.',
        cause: error,
      });
    }
    throw error;
  }
}

async function deleteRef(repo: Repo, path: string): Promise<void> {
  try {
    await unlink(path);
  } catch (error) {
    if (systemCode(error) === 'ENOENT' || systemCode(error) === 'ENOTDIR') return;
    throw error;
  }
  let folder = dirname(path);
  await syncFolder(folder);
  // Folders that the ref leaves empty would stand in the way of a ref of that name.
  const roots = [join(repo.path, 'refs/heads'), join(repo.path, 'refs/remotes')];
  for (; !roots.includes(folder); folder = dirname(folder)) {
    try {
      await rmdir(folder);
    } catch {
      return; // not empty
    }
  }
}

export interface ListRefsOptions {
  /** Called for a ref that cannot be read, which is then left out. Without it such a ref is an error. */
  onBroken?: (name: string, error: OstreeError) => void;
}

/**
 * All refs with their commits, sorted by name; those of remotes as `remote:name`.
 *
 * @param prefix only refs with this name or below it
 * @throws OstreeError `corrupt` for a ref that holds no checksum, `invalid` for one whose name no ref can have: to go
 *   on without it may mean to take a channel away from its devices
 */
export async function listRefs(
  repo: Repo,
  prefix?: string,
  options: ListRefsOptions = {},
): Promise<Map<string, Checksum>> {
  const isWanted = (name: string) => !prefix || name === prefix || name.startsWith(`${prefix}/`);
  const found = new Map<string, Checksum>();
  const walk = async (folder: string, name: (below: string) => string, below: string): Promise<void> => {
    let entries: import('node:fs').Dirent[];
    try {
      entries = await readdir(join(folder, below), { withFileTypes: true });
    } catch (error) {
      if (systemCode(error) === 'ENOENT') return;
      throw error;
    }
    for (const entry of entries) {
      if (entry.name.startsWith('.')) continue; // a durable write under way
      const inner = below ? `${below}/${entry.name}` : entry.name;
      if (entry.isDirectory()) await walk(folder, name, inner);
      else if (isWanted(name(inner))) {
        try {
          const commit = await readRef(repo, name(inner));
          if (commit) found.set(name(inner), commit);
        } catch (error) {
          if (!options.onBroken || !(error instanceof OstreeError)) throw error;
          options.onBroken(name(inner), error);
        }
      }
    }
  };
  await walk(join(repo.path, 'refs/heads'), (below) => below, '');
  const remotes = join(repo.path, 'refs/remotes');
  for (const remote of await readdir(remotes).catch(() => [])) {
    await walk(join(remotes, remote), (below) => `${remote}:${below}`, '');
  }
  return new Map([...found].sort(([a], [b]) => compareNames(a, b)));
}

/**
 * The commit that a revision names: a ref (`name`, `remote:name`), a checksum or the unique start of one, each
 * with any number of `^` for parents.
 *
 * @throws OstreeError `not-found`, or `invalid` when an abbreviation has several meanings
 */
export async function resolveRev(repo: Repo, rev: string): Promise<Checksum> {
  if (rev.endsWith('^')) {
    const child = await resolveRev(repo, rev.slice(0, -1));
    const { parent } = await readCommit(repo, child);
    if (parent) return parent;
    throw new OstreeError('not-found', `commit ${child} has no parent`);
  }
  if (isChecksum(rev)) return rev;
  if (isRefName(rev.replace(/^[^/:]+:/, ''))) {
    const commit = (await readRef(repo, rev)) ?? (await readRemoteRef(repo, rev));
    if (commit) return commit;
  }
  if (/^[0-9a-f]{4,63}$/.test(rev)) {
    const found = await abbreviated(repo, rev);
    if (found.length === 1) return found[0]!;
    if (found.length > 1) {
      throw new OstreeError(
        'invalid',
        `${rev} is the start of ${found.length} commits: ${found.slice(0, 4).join(', ')}`,
        {
          hint: 'Give more digits.',
        },
      );
    }
  }
  throw new OstreeError('not-found', `${repo.path}: no ref or commit "${rev}"`);
}

/** libostree resolves `remote/name` too, as the path below refs/remotes. */
async function readRemoteRef(repo: Repo, rev: string): Promise<Checksum | null> {
  const slash = rev.indexOf('/');
  return slash < 1 || rev.includes(':') ? null : readRef(repo, `${rev.slice(0, slash)}:${rev.slice(slash + 1)}`);
}

async function abbreviated(repo: Repo, start: string): Promise<Checksum[]> {
  const folder = start.slice(0, 2);
  const names = await readdir(join(repo.path, 'objects', folder)).catch(() => []);
  return names
    .filter((name) => name.endsWith('.commit') && name.startsWith(start.slice(2)))
    .map((name) => folder + name.slice(0, 62));
}
