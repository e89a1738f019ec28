import { mkdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { OstreeError, systemCode } from '../errors.ts';
import { formatKeyFile, type KeyFile, mergeKeyFile, parseKeyFile } from '../formats/keyfile.ts';
import { writeFileDurably } from '../fs/durable.ts';

/** The repository modes that this library reads and writes. */
export type RepoMode = 'archive' | 'bare' | 'bare-user' | 'bare-user-only';

/** How a repository keeps content objects. */
export interface ObjectFormat {
  readonly mode: RepoMode;
  /** Neither reads nor writes extended attributes of files on disk (`core.disable-xattrs`). */
  readonly ignoreXattrs: boolean;
}

/** An open repository. It holds no file open, so there is nothing to close. */
export interface Repo extends ObjectFormat {
  /** The folder that holds `config`, `objects` and `refs`. */
  readonly path: string;
  readonly config: KeyFile;
  /** Whether a transaction flushes to disk before it is acknowledged (`core.fsync`). */
  readonly fsync: boolean;
  /** The repository in which objects and refs are looked for that are not here (`core.parent`). */
  readonly parent?: Repo;
}

/** What a new repository is like. */
export interface CreateRepoOptions {
  /**
   * - `archive` (default): compressed, keeps every attribute, is what can be served over HTTP
   * - `bare`: files as they are, with owners and attributes; needs root
   * - `bare-user`: files as the caller may make them, everything else beside them in `user.ostreemeta`
   * - `bare-user-only`: files without owners, attributes and special permissions
   */
  mode?: RepoMode;
}

const FOLDERS = ['tmp/cache', 'extensions', 'state', 'refs/heads', 'refs/mirrors', 'refs/remotes', 'objects'];

/**
 * Makes a repository, or opens it when it is one already and of the same mode.
 *
 * @throws OstreeError `exists` when there is a repository of another mode
 */
export async function createRepo(path: string, options: CreateRepoOptions = {}): Promise<Repo> {
  const mode = options.mode ?? 'archive';
  const existing = await readConfig(path);
  if (existing) {
    const repo = await openWithParent(path, existing);
    if (repo.mode !== mode) {
      throw new OstreeError('exists', `${path} is already a repository, of mode ${repo.mode}`, {
        hint: `Choose another folder, or use it as ${repo.mode}.`,
      });
    }
    return repo;
  }
  for (const folder of FOLDERS) await mkdir(join(path, folder), { recursive: true });
  const core = new Map([
    ['repo_version', '1'],
    // libostree's name on disk for the mode that everybody calls archive
    ['mode', mode === 'archive' ? 'archive-z2' : mode],
  ]);
  const config: KeyFile = new Map([['core', core]]);
  // Last: a folder without a config is not a repository yet, so a crash before this leaves nothing half-made.
  await writeFileDurably(join(path, 'config'), formatKeyFile(config));
  return openConfigured(path, config);
}

/**
 * Opens a repository.
 *
 * @throws OstreeError `not-found` when the folder is none, `unsupported` for a mode that this library does not
 *   handle, `invalid` for a malformed config
 */
export async function openRepo(path: string): Promise<Repo> {
  const config = await readConfig(path);
  if (config) return openWithParent(path, config);
  const isFolder = await stat(path).then(
    (found) => found.isDirectory(),
    () => false,
  );
  throw new OstreeError(
    'not-found',
    `${path}: not an OSTree repository${isFolder ? ' (no config)' : ' (no such folder)'}`,
    {
      hint: 'Name a repository folder, or make one with `treeline repo init`.',
    },
  );
}

async function readConfig(path: string): Promise<KeyFile | null> {
  const file = join(path, 'config');
  try {
    return parseKeyFile(await readFile(file, 'utf8'), file);
  } catch (error) {
    const code = systemCode(error);
    if (code === 'ENOENT' || code === 'ENOTDIR') return null;
    throw error;
  }
}

/** More than anybody stacks: parents that go round in a circle end somewhere. */
const MAX_PARENTS = 16;

async function openWithParent(path: string, config: KeyFile, depth = 0): Promise<Repo> {
  const repo = openConfigured(path, config);
  const parent = config.get('core')?.get('parent');
  if (!parent) return repo;
  if (depth >= MAX_PARENTS) throw new OstreeError('invalid', `${path}: more than ${MAX_PARENTS} parents (core.parent)`);
  const above = await readConfig(parent);
  if (!above) throw new OstreeError('not-found', `${path}: its parent ${parent} is no OSTree repository (core.parent)`);
  return { ...repo, parent: await openWithParent(parent, above, depth + 1) };
}

function openConfigured(path: string, config: KeyFile): Repo {
  const core = config.get('core');
  const version = core?.get('repo_version');
  if (version !== '1') {
    throw new OstreeError('unsupported', `${path}/config: repo_version is ${version ?? 'missing'}, not 1`);
  }
  return {
    path,
    mode: repoMode(core?.get('mode') ?? 'bare', path),
    config,
    fsync: core?.get('fsync') !== 'false',
    ignoreXattrs: core?.get('disable-xattrs') === 'true',
  };
}

function repoMode(name: string, path: string): RepoMode {
  if (name === 'archive' || name === 'archive-z2') return 'archive';
  if (name === 'bare' || name === 'bare-user' || name === 'bare-user-only') return name;
  throw new OstreeError('unsupported', `${path}: repositories of mode ${name} are not supported`, {
    hint: 'Supported are archive, bare, bare-user and bare-user-only.',
  });
}

/**
 * Saves a changed config; comments in the file stay. The repository must be opened again to see it.
 *
 * @throws OstreeError `invalid`, `unsupported` when it would not be the config of a repository any more
 */
export async function writeConfig(repo: Repo, config: KeyFile): Promise<void> {
  openConfigured(repo.path, config);
  const path = join(repo.path, 'config');
  const before = await readFile(path, 'utf8');
  const merged = mergeKeyFile(before, config);
  if (merged !== before) await writeFileDurably(path, merged);
}

/** The file extension of content objects in a repository of this mode. */
export function fileExtension(mode: RepoMode): 'file' | 'filez' {
  return mode === 'archive' ? 'filez' : 'file';
}
