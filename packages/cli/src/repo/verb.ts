import { existsSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { OstreeError } from '@treeline/ostree/errors.ts';
import type { Checksum } from '@treeline/ostree/formats/object-name.ts';
import { resolveRev } from '@treeline/ostree/repo/refs.ts';
import { openRepo, type Repo } from '@treeline/ostree/repo/repo.ts';
import { defaultRepoPath } from './default-repo.ts';
import { type OptionSpec, type Parsed, UsageError } from './options.ts';

/** A verb of `treeline repo`: what it takes, and what it does. */
export interface RepoVerb {
  /** Positional arguments, as the usage shows them. */
  usage: string;
  options: Record<string, OptionSpec>;
  /** Returns the exit code; nothing for 0. */
  run(parsed: Parsed, signal: AbortSignal): Promise<number | undefined | undefined>;
}

/** Writes a line to standard output. */
export function say(line: string): void {
  process.stdout.write(`${line}\n`);
}

/** Opens the repository of repoPathOf. */
export async function openNamedRepo(parsed: Parsed): Promise<Repo> {
  const repo = await openRepo(repoPathOf(parsed));
  // Cleaning up takes it away now and then; ostree makes it again, too.
  const tmp = join(repo.path, 'tmp');
  if (!existsSync(tmp)) await mkdir(tmp).catch(() => {});
  return repo;
}

/**
 * The repository to work on: `--repo`, the current folder if it is one, OSTREE_REPO, or the system's below OSTREE_SYSROOT
 * (`ostree_repo_new_default`).
 */
export function repoPathOf(parsed: Parsed): string {
  const path = parsed.text('repo') || defaultRepoPath();
  if (path !== null) return path;
  throw new UsageError('Command requires a --repo argument');
}

/** The commit that a revision names; where there is none, libostree's message. */
export async function commitOf(repo: Repo, rev: string): Promise<Checksum> {
  try {
    return await resolveRev(repo, rev);
  } catch (error) {
    if (error instanceof OstreeError && error.code === 'not-found' && !rev.endsWith('^')) {
      throw new OstreeError('not-found', `Refspec '${rev}' not found`, { cause: error });
    }
    throw error;
  }
}

/** A positional argument that must be there. */
export function required(parsed: Parsed, index: number, message: string): string {
  const value = parsed.positionals[index];
  if (value === undefined) throw new UsageError(message);
  return value;
}

/** Content of `key=value` arguments. */
export function keyValue(argument: string, option: string): [string, string] {
  const equals = argument.indexOf('=');
  if (equals < 1) throw new UsageError(`Missing '=' in ${option} argument '${argument}'`);
  return [argument.slice(0, equals), argument.slice(equals + 1)];
}

/** A whole number of an option. */
export function integer(text: string | undefined, option: string): number | undefined {
  if (text === undefined) return undefined;
  if (!/^-?\d{1,15}$/.test(text)) throw new UsageError(`Cannot parse integer value '${text}' for --${option}`);
  return Number(text);
}

/** A yes or no of an option, in the words that ostree takes for one. */
export function boolean(text: string | undefined, option: string): boolean | undefined {
  if (text === undefined) return undefined;
  if (['1', 'true', 'yes'].includes(text.toLowerCase())) return true;
  if (['0', 'false', 'no', 'none'].includes(text.toLowerCase())) return false;
  throw new UsageError(`Invalid boolean argument '${text}' for --${option}`);
}
