import { openRepo, type Repo } from './repo.ts';

/** More than anybody stacks: parents that go round in a circle end somewhere. */
const MAX_PARENTS = 16;

/** A repository and those in which it looks for what it has not (`core.parent`), nearest first. */
export async function withParents(repo: Repo): Promise<Repo[]> {
  const repos = [repo];
  for (let parent = repo.config.get('core')?.get('parent'); parent && repos.length <= MAX_PARENTS; ) {
    const next: Repo = await openRepo(parent);
    repos.push(next);
    parent = next.config.get('core')?.get('parent');
  }
  return repos;
}
