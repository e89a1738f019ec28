import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { ownCollection } from '../repo/collection-refs.ts';
import { openRepo, type Repo, writeConfig } from '../repo/repo.ts';

/** The mirror, with its refs in the collection that they have at the remote. */
export async function inCollection(repo: Repo, collection: string | null): Promise<Repo> {
  if (collection === null || ownCollection(repo) === collection) return repo;
  const config = new Map(repo.config);
  config.set('core', new Map(config.get('core')).set('collection-id', collection));
  await writeConfig(repo, config);
  return openRepo(repo.path);
}

export function hasSummary(repo: Repo): boolean {
  return existsSync(join(repo.path, 'summary'));
}

/** Whether these are the summary and the signatures that the mirror has. */
export function isPublished(
  repo: Repo,
  { summary, signature }: { summary: Buffer; signature: Buffer | null },
): boolean {
  const read = (name: string) => (existsSync(join(repo.path, name)) ? readFileSync(join(repo.path, name)) : null);
  const [here, signed] = [read('summary'), read('summary.sig')];
  return here?.equals(summary) === true && (signature ? signed?.equals(signature) === true : signed === null);
}
