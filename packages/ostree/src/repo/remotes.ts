import { readdirSync, readFileSync } from 'node:fs';
import { unlink } from 'node:fs/promises';
import { join } from 'node:path';
import { OstreeError, systemCode } from '../errors.ts';
import { formatKeyFile, type KeyFile, parseKeyFile } from '../formats/keyfile.ts';
import { writeFileDurably } from '../fs/durable.ts';
import { isRemoteName } from './refs.ts';
import { type Repo, writeConfig } from './repo.ts';

/** A remote as it is configured, with all its keys as they are in the file. */
export interface RemoteConfig {
  name: string;
  keys: ReadonlyMap<string, string>;
  /** The file that says so: the repository's config, one in a `remotes.d` folder, or the parent's. */
  file: string;
  /** Whether it is the parent repository's. */
  inherited: boolean;
}

/** Where remotes are configured. */
export interface RemotesOptions {
  /**
   * Folder of `*.conf` files that add remotes. Default: for the repository of the running system `/etc/ostree/remotes.d`,
   * as for libostree; for others none.
   */
  folder?: string | undefined;
}

const GROUP = /^remote "(.+)"$/;
const groupOf = (name: string) => `remote "${name}"`;

/**
 * The remotes of a repository by name: those of its config, of the files of its `remotes.d`, and of its parent
 * repository. A file beside the config may add remotes but not change one; the parent's are what is not said here.
 *
 * @throws OstreeError `invalid` when two files have the same remote, or one is malformed
 */
export async function readRemotes(repo: Repo, options: RemotesOptions = {}): Promise<Map<string, RemoteConfig>> {
  const found = new Map<string, RemoteConfig>();
  addRemotes(found, repo.config, join(repo.path, 'config'));
  const folder = options.folder ?? systemFolder(repo);
  for (const name of folder ? confFiles(folder) : []) {
    const file = join(folder!, name);
    addRemotes(found, parseKeyFile(readFileSync(file, 'utf8'), file), file);
  }
  if (repo.parent) {
    for (const [name, remote] of await readRemotes(repo.parent)) {
      if (!found.has(name)) found.set(name, { ...remote, inherited: true });
    }
  }
  return found;
}

function addRemotes(found: Map<string, RemoteConfig>, config: KeyFile, file: string): void {
  for (const [group, keys] of config) {
    const name = GROUP.exec(group)?.[1];
    if (name === undefined) continue;
    const other = found.get(name);
    if (other) {
      throw new OstreeError('invalid', `Multiple specifications found for remote "${name}": ${other.file}, ${file}`);
    }
    found.set(name, { name, keys, file, inherited: false });
  }
}

function systemFolder(repo: Repo): string | null {
  return repo.path === '/ostree/repo' || repo.path === '/sysroot/ostree/repo' ? '/etc/ostree/remotes.d' : null;
}

function confFiles(folder: string): string[] {
  try {
    return readdirSync(folder)
      .filter((name) => name.endsWith('.conf'))
      .sort();
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return [];
    throw error;
  }
}

/** The remote of this name. Throws `not-found`. */
export async function readRemote(repo: Repo, name: string, options: RemotesOptions = {}): Promise<RemoteConfig> {
  const remote = (await readRemotes(repo, options)).get(name);
  if (remote) return remote;
  throw new OstreeError('not-found', `Remote "${name}" not found`, {
    hint: 'See `treeline repo remote list`, or add it with `treeline repo remote add`.',
  });
}

/** How a remote is added. */
export interface AddRemoteOptions extends RemotesOptions {
  /** Where there is a remote of this name, give it these keys instead of its own. */
  replace?: boolean;
}

/**
 * Adds a remote: to the repository's config, or as a file of its own in `remotes.d` where there is one, unless
 * `core.add-remotes-config-dir` is false. `repo.config` has it too afterwards.
 *
 * @throws OstreeError `invalid` for a bad name, `exists` when there is one and it is not to be replaced
 */
export async function addRemote(
  repo: Repo,
  name: string,
  keys: ReadonlyMap<string, string>,
  options: AddRemoteOptions = {},
): Promise<void> {
  if (!isRemoteName(name)) throw new OstreeError('invalid', `Invalid remote name ${name}`);
  const config = join(repo.path, 'config');
  const existing = (await readRemotes(repo, options)).get(name);
  const own = existing && !existing.inherited ? existing : null;
  if (existing && !options.replace) {
    const where = existing.file === config ? '(in config)' : existing.file;
    throw new OstreeError('exists', `Remote configuration for "${name}" already exists: ${where}`);
  }
  const folder = options.folder ?? systemFolder(repo);
  const adds = folder && repo.config.get('core')?.get('add-remotes-config-dir') !== 'false';
  const file = own?.file ?? (adds ? join(folder, `${name}.conf`) : config);
  if (file !== config) {
    await writeFileDurably(file, formatKeyFile(new Map([[groupOf(name), new Map(keys)]])));
    return;
  }
  repo.config.set(groupOf(name), new Map(keys));
  await writeConfig(repo, repo.config);
}

/**
 * Takes a remote out of the file that has it, and removes its keyring. Its refs stay.
 *
 * @throws OstreeError `not-found`, for one of the parent repository too
 */
export async function deleteRemote(repo: Repo, name: string, options: RemotesOptions = {}): Promise<void> {
  const remote = await readRemote(repo, name, options);
  if (remote.inherited) {
    throw new OstreeError('not-found', `Remote "${name}" not found`, { hint: `It is configured in ${remote.file}.` });
  }
  if (repo.config.delete(groupOf(name))) await writeConfig(repo, repo.config);
  else await unlink(remote.file); // as libostree does: one file, one remote
  await unlink(join(repo.path, `${name}.trustedkeys.gpg`)).catch((error: unknown) => {
    if (systemCode(error) !== 'ENOENT') throw error;
  });
}
