import { cpSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { execute } from './treeline.ts';

const example = fileURLToPath(new URL('../../examples/road-follower/', import.meta.url));

/** The robot's repositories, in the order in which one needs the other. */
export const projects = ['images', 'app', 'model', 'system'] as const;
export type Project = (typeof projects)[number];

/** A bare repository that stands for the one on a git server, and a developer's clone of it. */
export interface Repository {
  project: Project;
  origin: string;
  clone: string;
}

async function git(...args: string[]): Promise<string> {
  const identity = [
    '-c',
    'user.name=Road Follower',
    '-c',
    'user.email=robot@example.org',
    '-c',
    'init.defaultBranch=main',
  ];
  const { status, stdout, stderr } = await execute('git', [...identity, ...args]);
  if (status !== 0) throw new Error(`git ${args.join(' ')}: ${stderr}`);
  return stdout.trim();
}

/** Makes one of the example's folders a git repository with a first commit, pushed to its origin. */
export async function createRepository(folder: string, project: Project): Promise<Repository> {
  const origin = join(folder, `${project}.git`);
  const clone = join(folder, project);
  mkdirSync(folder, { recursive: true });
  await git('init', '--quiet', '--bare', origin);
  cpSync(join(example, project), clone, { recursive: true, verbatimSymlinks: true });
  await git('init', '--quiet', clone);
  await git('-C', clone, 'remote', 'add', 'origin', origin);
  await commitAndPush({ project, origin, clone }, `The robot's ${project}`);
  return { project, origin, clone };
}

/** Edits a clone with one of the example's change scripts, commits and pushes. Returns the commit's subject. */
export async function pushChange(repository: Repository, change: 'app-change' | 'bad-model'): Promise<string> {
  const script = join(example, 'changes', `${change}.sh`);
  const { status, stdout, stderr } = await execute('sh', [script, repository.clone]);
  if (status !== 0) throw new Error(`${script}: ${stderr}`);
  const subject = stdout.trim().split('\n').at(-1)!;
  await commitAndPush(repository, subject);
  return subject;
}

async function commitAndPush({ clone }: Repository, subject: string): Promise<void> {
  await git('-C', clone, 'add', '--all');
  await git('-C', clone, 'commit', '--quiet', '-m', subject);
  await git('-C', clone, 'push', '--quiet', 'origin', 'HEAD:main');
}
