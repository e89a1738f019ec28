import { mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { writeFileDurably } from '@treeline/ostree';
import { ServerError } from '../errors.ts';
import { checkRevision, checkUrl, type GitOptions, git } from './git.ts';

/** A project's bare mirror of its git repository. */
export interface Mirror {
  gitDir: string;
  url: string;
}

type Limits = Pick<GitOptions, 'signal' | 'timeoutSeconds'>;

export function mirrorAt(sources: string, project: string, url: string): Mirror {
  return { gitDir: join(sources, `${project}.git`), url };
}

/** Head of a branch as the remote has it now. `branch` undefined: the one that its HEAD names. */
export interface RemoteHead {
  branch: string;
  revision: string;
}

/**
 * Asks the remote for a branch's newest revision; fetches nothing.
 *
 * @throws ServerError `source-unreachable` (no such repository, no access), `source-invalid` (no such branch, empty).
 */
export async function remoteHead(url: string, branch: string | undefined, o: Limits): Promise<RemoteHead> {
  checkUrl(url);
  if (branch === undefined) return await defaultHead(url, o);
  checkRevision(branch);
  const revision = (await git(['ls-remote', '--', url, `refs/heads/${branch}`], o)).split('\t')[0] ?? '';
  if (revision !== '') return { branch, revision };
  const branches = (await git(['ls-remote', '--heads', '--', url], o))
    .split('\n')
    .map((line) => line.split('\trefs/heads/')[1])
    .filter((name) => name !== undefined);
  throw new ServerError('source-invalid', `${url} has no branch "${branch}"`, {
    hint: branches.length === 0 ? 'It has no branches yet: push one.' : `It has: ${branches.slice(0, 20).join(', ')}.`,
  });
}

async function defaultHead(url: string, o: Limits): Promise<RemoteHead> {
  const text = await git(['ls-remote', '--symref', '--', url, 'HEAD'], o);
  const branch = /^ref: refs\/heads\/(.+)\tHEAD$/m.exec(text)?.[1];
  const revision = /^([0-9a-f]{40,64})\tHEAD$/m.exec(text)?.[1];
  if (branch && revision) return { branch, revision };
  throw new ServerError('source-invalid', `the HEAD of ${url} names no branch with a commit`, {
    hint: 'Push a commit first, or name the branch to follow with --branch.',
  });
}

/** Brings the mirror up to date: branches and tags. Killed at any moment, the next call goes on. */
export async function fetchMirror(mirror: Mirror, o: Limits): Promise<void> {
  await mkdir(mirror.gitDir, { recursive: true });
  await git(['init', '--quiet', '--bare'], { ...o, gitDir: mirror.gitDir });
  await mkdir(join(mirror.gitDir, 'info'), { recursive: true });
  // What a source commit holds is what git stored. `.gitattributes` of the repository must not leave files out of an
  // archive (export-ignore), rewrite them (export-subst, ident) or convert their line ends.
  await writeFileDurably(
    join(mirror.gitDir, 'info', 'attributes'),
    '* -export-ignore -export-subst -text -ident -working-tree-encoding\n',
  );
  const fetch = ['fetch', '--quiet', '--prune', '--no-tags', '--force', '--no-auto-maintenance', '--', mirror.url];
  await git([...fetch, '+refs/heads/*:refs/heads/*', '+refs/tags/*:refs/tags/*'], { ...o, gitDir: mirror.gitDir });
}

export async function removeMirror(mirror: Mirror): Promise<void> {
  await rm(mirror.gitDir, { recursive: true, force: true });
}

/** Full id of the commit that a branch, tag or (abbreviated) revision names. @throws ServerError `source-invalid` */
export async function resolveRevision(mirror: Mirror, name: string, o: Limits): Promise<string> {
  checkRevision(name);
  try {
    const text = await git(['rev-parse', '--verify', '--quiet', '--end-of-options', `${name}^{commit}`], {
      ...o,
      gitDir: mirror.gitDir,
    });
    return text.trim();
  } catch (error) {
    throw new ServerError('source-invalid', `${mirror.url} has no revision "${name}"`, {
      cause: error,
      hint: 'Is it pushed? Give a branch, a tag or a commit id.',
    });
  }
}
