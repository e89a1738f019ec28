import { rm } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import type { Bench, Command } from '../suite.ts';

const cli = resolve(import.meta.dirname, '../../packages/cli/bin/treeline.js');

/** `treeline repo …`: start-up counts, as it does for people. */
export function treeline(...args: string[]): Command {
  // The flag is that of the command's first line, which a shell's PATH might read with another Node.
  return [process.execPath, '--max-semi-space-size=4', cli, 'repo', ...args];
}

export function ostree(...args: string[]): Command {
  return ['ostree', ...args];
}

/** The same arguments for both, once for each repository. */
export type Arguments = (repository: string) => string[];

/** Thrown by checks: the two sides did not do the same. */
export class ResultsDiffer extends Error {}

/** libostree makes the repository for both, so that both start from the same configuration: its defaults. */
export async function newRepository(
  { prepare }: Bench,
  path: string,
  options: { mode?: string; remote?: string } = {},
): Promise<void> {
  await rm(path, { recursive: true, force: true });
  await prepare('ostree', 'init', `--repo=${path}`, `--mode=${options.mode ?? 'archive'}`);
  if (options.remote) {
    await prepare('ostree', 'remote', 'add', `--repo=${path}`, '--no-gpg-verify', 'origin', options.remote);
  }
}

/** A repository whose objects are hard links to those of another: made anew in a moment, and its own to delete from. */
export async function linkedCopy({ prepare }: Bench, from: string, to: string): Promise<void> {
  await rm(to, { recursive: true, force: true });
  await prepare('cp', '-al', from, to);
  // Written in place by nobody, but by renaming; the lock and the cache are not to be shared all the same.
  for (const name of ['.lock', 'summary', 'config']) {
    await prepare('sh', '-c', 'test ! -e "$1" || { cp -p "$1" "$1.own" && mv "$1.own" "$1"; }', 'sh', join(to, name));
  }
}

/** Both trees must be of the same bytes, modes, owners and xattrs: the checksums of their commits' trees say so. */
export async function assertSameTree(
  { prepare }: Bench,
  ref: string,
  repositories: readonly [string, string],
): Promise<void> {
  const [ours, theirs] = await Promise.all(
    repositories.map((path) => prepare('ostree', 'ls', `--repo=${path}`, '-d', '-C', ref)),
  );
  if (ours !== theirs) throw new ResultsDiffer(`${ref} is ${ours?.trim()} and ${theirs?.trim()}`);
}

/** What is in a repository: that of two pulls, prunes and the like must be the same. */
export async function assertSameObjects({ prepare }: Bench, repositories: readonly [string, string]): Promise<void> {
  const [ours, theirs] = await Promise.all(
    repositories.map(async (path) => {
      const list = await prepare('find', join(path, 'objects'), '-type', 'f', '-not', '-name', '.*', '-printf', '%P\n');
      return list.trim().split('\n').sort();
    }),
  );
  const differ = ours!.length !== theirs!.length || ours!.some((name, index) => name !== theirs![index]);
  if (differ) throw new ResultsDiffer(`${ours!.length} objects, and ${theirs!.length} others`);
}
