import type { Repo } from './repo.ts';

/** A repository and those in which it looks for what it has not, nearest first. */
export function withParents(repo: Repo): Repo[] {
  return repo.parent ? [repo, ...withParents(repo.parent)] : [repo];
}
