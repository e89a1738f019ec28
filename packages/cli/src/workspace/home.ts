import { mkdirSync } from 'node:fs';
import { homedir } from 'node:os';
import { join, resolve } from 'node:path';
import type { Repo } from '@treeline/ostree';

/**
 * What a developer has for all of his workspaces, a folder of his own:
 *
 * ```
 * repo/            archive repository: what was checked out, and what was committed
 * cache/           unpacked objects that workspaces are linked to; can be removed at any time
 * workspaces/ID/   of each workspace: record.json, what it looked like (index), its /var (var/)
 * ```
 */
export interface Home {
  path: string;
  cache: string;
  workspaces: string;
  repo: Repo;
}

/** TREELINE_WORKSPACES, else `treeline-workspaces` in the user's data folder ($XDG_DATA_HOME, ~/.local/share). */
export function homePath(env: NodeJS.ProcessEnv = process.env): string {
  if (env.TREELINE_WORKSPACES) return resolve(env.TREELINE_WORKSPACES);
  const xdg = env.XDG_DATA_HOME;
  return join(xdg?.startsWith('/') ? xdg : join(homedir(), '.local', 'share'), 'treeline-workspaces');
}

/** Opens the folder, and makes what is missing of it. */
export async function openHome(): Promise<Home> {
  const { createRepo } = await import('@treeline/ostree');
  const path = homePath();
  // What is in it may be confidential, or set-user-id: nobody else gets in.
  mkdirSync(path, { recursive: true, mode: 0o700 });
  const [cache, workspaces] = [join(path, 'cache'), join(path, 'workspaces')];
  for (const folder of [cache, workspaces]) mkdirSync(folder, { recursive: true, mode: 0o700 });
  return { path, cache, workspaces, repo: await createRepo(join(path, 'repo'), { mode: 'archive' }) };
}
