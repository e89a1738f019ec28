import { randomBytes } from 'node:crypto';
import { closeSync, type Dirent, openSync, readdirSync, readlinkSync, readSync } from 'node:fs';
import { mkdir, readdir, rename, rmdir, symlink, unlink, utimes } from 'node:fs/promises';
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
const REMOTE_REF = /^(?:([^:/]+):)?(.+)$/u;

/**
 * Where a ref's file is: `refs/heads/NAME`, or `refs/remotes/REMOTE/NAME` for `REMOTE:NAME`.
 *
 * @throws OstreeError `invalid` for a name that no ref can have
 */
export function refPath(repo: Repo, name: string): string {
  const { remote, ref } = parseRefspec(name);
  return remote ? join(repo.path, 'refs/remotes', remote, ref) : join(repo.path, 'refs/heads', ref);
}

/**
 * Takes `NAME` or `REMOTE:NAME` apart.
 *
 * @throws OstreeError `invalid`
 */
export function parseRefspec(name: string): { remote: string | null; ref: string } {
  const [, remote, ref] = REMOTE_REF.exec(name) ?? [];
  if (!ref || !isRefName(ref) || (remote !== undefined && !isRemoteName(remote))) {
    throw new OstreeError('invalid', `Invalid refspec ${name}: it cannot be the name of a ref`, {
      hint: 'A ref is made of letters, digits, "-", "_", "." and "/" between parts, for example robot/edge.',
    });
  }
  return { remote: remote ?? null, ref };
}

/** Whether a ref can have this name (without a remote). */
export function isRefName(name: string): boolean {
  return REF.test(name);
}

/** Whether a remote can have this name: one part of what a ref can be. */
export function isRemoteName(name: string): boolean {
  return isRefName(name) && !name.includes('/');
}

/** The commit that a ref names, or null when there is no such ref. Aliases (symlinks) are followed. */
export async function readRef(repo: Repo, name: string): Promise<Checksum | null> {
  return readRefFile(refPath(repo, name));
}

/** A ref is a checksum and the end of a line; what is longer is none. */
const start = Buffer.alloc(128);

/** @internal The checksum in a ref's file, or null when there is no such file. Throws `corrupt`. */
export function readRefFile(path: string): Checksum | null {
  let text: string;
  try {
    // Sync on purpose, here and where refs are listed: a ref is 65 bytes, and a thread's help costs ten times that.
    const fd = openSync(path, 'r');
    try {
      text = start.toString('latin1', 0, readSync(fd, start, 0, start.length, 0)).trimEnd();
    } finally {
      closeSync(fd);
    }
  } catch (error) {
    const code = systemCode(error);
    if (code === 'ENOENT' || code === 'ENOTDIR' || code === 'EISDIR' || code === 'ENAMETOOLONG') return null;
    if (code === 'ELOOP') throw new OstreeError('corrupt', `${path}: an alias that leads to itself`, { cause: error });
    throw error;
  }
  if (isChecksum(text)) return text;
  throw new OstreeError('corrupt', `${path}: does not hold a checksum`);
}

/**
 * Points a ref at a commit, durably, or deletes it (`null`). The commit is not looked up.
 *
 * @throws OstreeError `exists` when the name is a folder of other refs, or lies below another ref
 */
export async function setRef(repo: Repo, name: string, commit: Checksum | null): Promise<void> {
  await setRefFile(repo, refPath(repo, name), name, commit);
}

/**
 * Makes a ref that stands for another local ref, whatever that names at the time (a symlink).
 *
 * @throws OstreeError `invalid` for a ref of a remote, `not-found` when there is no target, `exists` as setRef does
 */
export async function setAlias(repo: Repo, name: string, target: string): Promise<void> {
  const { remote } = parseRefspec(name);
  if (remote) throw new OstreeError('invalid', `Cannot create alias to remote ref: ${remote}`);
  if (parseRefspec(target).remote || (await readRef(repo, target)) === null) {
    throw new OstreeError('not-found', `Cannot create alias to non-existent ref: ${target}`);
  }
  const path = refPath(repo, name);
  const link = '../'.repeat(name.split('/').length - 1) + target;
  await replaceRef(name, async () => {
    await mkdir(dirname(path), { recursive: true });
    const temporary = join(dirname(path), `.alias-${randomBytes(6).toString('hex')}`);
    await symlink(link, temporary);
    try {
      await rename(temporary, path);
    } catch (error) {
      await unlink(temporary);
      throw error;
    }
    await syncFolder(dirname(path));
  });
  await touch(repo);
}

/** @internal setRef for a file anywhere below `refs`. */
export async function setRefFile(repo: Repo, path: string, name: string, commit: Checksum | null): Promise<void> {
  if (commit === null) await deleteRefFile(repo, path);
  else {
    assertChecksum(commit);
    if (isChecksum(name)) throw new OstreeError('invalid', `Rev name '${name}' looks like a checksum`);
    await replaceRef(name, () => writeFileDurably(path, `${commit}\n`));
  }
  await touch(repo);
}

async function replaceRef(name: string, write: () => Promise<void>): Promise<void> {
  try {
    await write();
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

/** As libostree does, so that programs that watch the folder's time see that refs moved. */
async function touch(repo: Repo): Promise<void> {
  const now = new Date();
  await utimes(repo.path, now, now).catch(() => {}); // not the owner
}

async function deleteRefFile(repo: Repo, path: string): Promise<void> {
  try {
    await unlink(path);
  } catch (error) {
    if (systemCode(error) === 'ENOENT' || systemCode(error) === 'ENOTDIR') return;
    throw error;
  }
  let folder = dirname(path);
  await syncFolder(folder);
  // Folders that the ref leaves empty would stand in the way of a ref of that name.
  const roots = ['heads', 'remotes', 'mirrors'].map((root) => join(repo.path, 'refs', root));
  for (; !roots.includes(folder); folder = dirname(folder)) {
    try {
      await rmdir(folder);
    } catch {
      return; // not empty
    }
  }
}

/** How refs are listed. */
export interface ListRefsOptions {
  /** Called for a ref that cannot be read, which is then left out. Without it such a ref is an error. */
  onBroken?: (name: string, error: OstreeError) => void;
  /** Leave out the refs of remotes. */
  localOnly?: boolean;
  /** @internal Default: the disk. */
  access?: RefAccess;
}

/** Where refs come from: the disk, or the memory of who has read them before. */
export interface RefAccess {
  /** What is in a folder; nothing when it is not there. */
  entries(folder: string): readonly Dirent[];
  /** As readRefFile. */
  read(path: string): Checksum | null;
}

const DISK: RefAccess = { entries: readEntries, read: readRefFile };

/**
 * All refs with their commits, sorted by name; those of remotes as `remote:name`. Refs of collections that are
 * mirrored here are not among them: see listCollectionRefs.
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
  const { access = DISK } = options;
  const isWanted = (name: string) => !prefix || name === prefix || name.startsWith(`${prefix}/`);
  const found = new Map<string, Checksum>();
  const collect = (folder: string, start: string) => {
    for (const { name: below, path } of refFiles(folder, access)) {
      const name = start + below;
      if (!isWanted(name)) continue;
      try {
        if (!isRefName(below)) parseRefspec(below); // throws
        const commit = access.read(path);
        if (commit) found.set(name, commit);
      } catch (error) {
        if (!options.onBroken || !(error instanceof OstreeError)) throw error;
        options.onBroken(name, error);
      }
    }
  };
  collect(join(repo.path, 'refs/heads'), '');
  if (!options.localOnly) {
    const remotes = join(repo.path, 'refs/remotes');
    for (const remote of foldersIn(remotes)) collect(join(remotes, remote), `${remote}:`);
  }
  return new Map([...found].sort(([a], [b]) => compareNames(a, b)));
}

/** The local refs that are aliases, with the name of the ref that each stands for; sorted. */
export async function listAliases(repo: Repo): Promise<Map<string, string>> {
  const found: [string, string][] = [];
  for (const { name, path, link } of refFiles(join(repo.path, 'refs/heads'))) {
    if (link) found.push([name, readlinkSync(path).replace(/^(\.\.\/)+/, '')]);
  }
  return new Map(found.sort(([a], [b]) => compareNames(a, b)));
}

/** @internal The files below a folder of refs, but for hidden ones: those are writes under way, and other tools'. */
export function* refFiles(
  folder: string,
  access: Pick<RefAccess, 'entries'> = DISK,
  below = '',
): Generator<{ name: string; path: string; link: boolean }> {
  for (const entry of access.entries(folder)) {
    if (entry.name.startsWith('.')) continue;
    const path = `${folder}/${entry.name}`;
    if (entry.isDirectory()) yield* refFiles(path, access, `${below}${entry.name}/`);
    else yield { name: below + entry.name, path, link: entry.isSymbolicLink() };
  }
}

/** @internal The entries of a folder that need not be there. */
export function readEntries(folder: string): Dirent[] {
  try {
    return readdirSync(folder, { withFileTypes: true });
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return [];
    throw error;
  }
}

/** @internal The folders in a folder that need not be there. */
export function foldersIn(path: string): string[] {
  try {
    return readdirSync(path, { withFileTypes: true })
      .filter((entry) => entry.isDirectory() && !entry.name.startsWith('.'))
      .map(({ name }) => name)
      .sort(compareNames);
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return [];
    throw error;
  }
}

/**
 * The commit that a revision names: a ref (`name`, `remote:name`; failing that, one of this name of any remote), a
 * checksum or the unique start of one, each with any number of `^` for parents. What is not here is looked for in the
 * parent repository, if there is one.
 *
 * @throws OstreeError `not-found`, or `invalid` when an abbreviation has several meanings
 */
export async function resolveRev(repo: Repo, rev: string): Promise<Checksum> {
  const commit = await tryResolveRev(repo, rev);
  if (commit) return commit;
  throw new OstreeError('not-found', `Refspec '${rev}' not found`, { hint: `See the refs of ${repo.path}.` });
}

/** resolveRev, with null for what is not found. */
export async function tryResolveRev(repo: Repo, rev: string): Promise<Checksum | null> {
  if (rev.endsWith('^')) {
    const child = await resolveRev(repo, rev.slice(0, -1));
    const { parent } = await readCommit(repo, child);
    if (parent) return parent;
    throw new OstreeError('not-found', `Commit ${child} has no parent`);
  }
  if (isChecksum(rev)) return rev;
  const commit = (await readNamedRef(repo, rev)) ?? (await abbreviated(repo, rev));
  return commit ?? (repo.parent ? tryResolveRev(repo.parent, rev) : null);
}

/** Without a remote, libostree takes `remote/name` as well, and what any remote has of this name. */
async function readNamedRef(repo: Repo, rev: string): Promise<Checksum | null> {
  if (!isRefName(rev.replace(/^[^/:]+:/, ''))) return null;
  const commit = await readRef(repo, rev);
  if (commit || rev.includes(':')) return commit;
  const remotes = join(repo.path, 'refs/remotes');
  const found = readRefFile(join(remotes, rev));
  if (found) return found;
  for (const folder of foldersIn(remotes)) {
    const other = readRefFile(join(remotes, folder, rev));
    if (other) return other;
  }
  return null;
}

/** The one commit whose checksum starts like this, or null. */
async function abbreviated(repo: Repo, start: string): Promise<Checksum | null> {
  if (!/^[0-9a-f]{1,63}$/.test(start)) return null;
  const found = await listCommits(repo, start);
  if (found.length <= 1) return found[0] ?? null;
  throw new OstreeError('invalid', `Refspec ${start} not unique`, {
    hint: `${found.length} commits start like this, among them ${found.slice(0, 3).join(', ')}: give more digits.`,
  });
}

/** The commits of a repository (not those of its parent) whose checksums start like this, sorted. */
export async function listCommits(repo: Repo, start = ''): Promise<Checksum[]> {
  const objects = join(repo.path, 'objects');
  const folders = start.length >= 2 ? [start.slice(0, 2)] : await readdir(objects);
  const found: Checksum[] = [];
  for (const folder of folders) {
    if (!/^[0-9a-f]{2}$/.test(folder) || !folder.startsWith(start.slice(0, 2))) continue;
    for (const name of await readdir(join(objects, folder)).catch((): string[] => [])) {
      if (!name.endsWith('.commit')) continue;
      const checksum = folder + name.slice(0, -'.commit'.length);
      if (isChecksum(checksum) && checksum.startsWith(start)) found.push(checksum);
    }
  }
  return found.sort(compareNames);
}
