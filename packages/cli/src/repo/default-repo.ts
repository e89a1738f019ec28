import { existsSync } from 'node:fs';
import { join } from 'node:path';

/** The repository that is meant when none is named: see repoPathOf. Null when there is none. */
export function defaultRepoPath(env: NodeJS.ProcessEnv = process.env): string | null {
  if (existsSync('objects') && existsSync('config')) return '.';
  if (env.OSTREE_REPO) return env.OSTREE_REPO;
  const system = join(env.OSTREE_SYSROOT || '/', 'ostree/repo');
  return existsSync(join(system, 'config')) ? system : null;
}
