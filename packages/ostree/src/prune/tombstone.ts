import { join } from 'node:path';
import { type Checksum, loosePath } from '../formats/object-name.ts';
import { writeFileDurably } from '../fs/durable.ts';
import { encode } from '../gvariant/encode.ts';
import { openRepo, type Repo, writeConfig } from '../repo/repo.ts';
import { repoSettings } from '../repo/settings.ts';

/** What says that a commit was deleted, so that a mirror deletes it too instead of missing it. */
export async function writeTombstone(repo: Repo, commit: Checksum): Promise<void> {
  const data = encode('a{sv}', [['commit', { type: 'ay', value: Buffer.from(`${commit}\0`) }]]);
  await writeFileDurably(tombstonePath(repo, commit), data);
}

/** Where the tombstone of a commit is, or would be. */
export function tombstonePath(repo: Repo, commit: Checksum): string {
  return join(repo.path, 'objects', loosePath(commit, 'tombstone-commit'));
}

/** From now on deleted commits leave tombstones (`core.tombstone-commits`). Returns the repository as it is then. */
export async function enableTombstones(repo: Repo): Promise<Repo> {
  if (repoSettings(repo.config).tombstoneCommits) return repo;
  repo.config.get('core')!.set('tombstone-commits', 'true');
  await writeConfig(repo, repo.config);
  return openRepo(repo.path);
}
