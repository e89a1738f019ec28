import { chmod, lstat, mkdtemp, readdir, rename, rm, rmdir } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import type { Repo } from '@treeline/ostree';
import type { Command } from 'commander';
import { dataFolder, shortPath } from '../connection/folder.ts';
import { CliError } from '../errors.ts';
import { printDocument, printText } from '../output/document.ts';
import { formatDuration } from '../output/duration.ts';
import { liveLines } from '../output/progress.ts';
import { shortId } from '../output/words.ts';
import { resolveCommit } from '../revisions.ts';
import { clientOf, optionsOf, type Session } from '../session.ts';

type CheckoutOptions = { subpath?: string; userMode?: boolean; data?: string; server?: string };

export function declare(command: Command, session: Session): void {
  command
    .description(
      'Write the tree of a commit to a new folder. It is read from the store in the data folder of this machine; ' +
        'of a published release on another machine, use: treeline repo pull, then treeline repo checkout.',
    )
    .argument('<rev>', 'a channel (robot/edge), a release number, project/artifact, or (the beginning of) a commit')
    .argument('<dir>', 'the folder to make; it may exist if it is empty')
    .option('--subpath <path>', 'only this folder of the tree')
    .option('-U, --user-mode', 'files belong to who calls this (always so unless called by root)')
    .action((rev: string, dir: string, _: object, self: Command) => run(rev, dir, { self, session }));
}

async function run(rev: string, dir: string, o: { self: Command; session: Session }): Promise<void> {
  const options = optionsOf<CheckoutOptions>(o.self);
  const destination = resolve(dir);
  await checkDestination(destination);
  const { openRepo, checkout, readCommit } = await import('@treeline/ostree');
  const store = join(dataFolder(options.data), 'store');
  const repo = await openRepo(store).catch((cause: unknown) => {
    throw new CliError(
      'not-found',
      `There is no store at ${shortPath(store)}: a checkout is made from a data folder of this machine.`,
      {
        cause,
        hint: 'Name the data folder with --data DIR. A release can be had from any machine: treeline repo pull URL, then treeline repo checkout.',
      },
    );
  });
  const commit = await findCommit(rev, { repo, options, session: o.session });
  const { tree } = await readCommit(repo, commit);

  // Made beside its place and renamed: an interrupted checkout leaves no folder that looks whole.
  const parent = dirname(destination);
  const temporary = await mkdtemp(join(parent, `.${basename(destination)}.`));
  const screen = liveLines(process.stderr);
  const began = Date.now();
  try {
    const stats = await checkout(repo, tree, join(temporary, 'tree'), {
      userMode: options.userMode === true || process.getuid?.() !== 0,
      signal: o.session.signal,
      ...(options.subpath ? { subpath: options.subpath } : {}),
    });
    await rmdir(destination).catch(() => {});
    await rename(join(temporary, 'tree'), destination);
    const milliseconds = Date.now() - began;
    if (options.json) return printDocument({ commit, path: destination, milliseconds, ...stats });
    printText(`${shortPath(destination)} holds ${shortId(commit)} (${formatDuration(milliseconds)})`);
  } finally {
    screen.close();
    await removeTree(temporary);
  }
}

async function checkDestination(path: string): Promise<void> {
  let entries: string[];
  try {
    entries = await readdir(path);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT') {
      const parent = await lstat(dirname(path)).catch(() => null);
      if (parent) return;
      throw new CliError('not-found', `The folder ${dirname(path)} does not exist.`, {
        cause: error,
        hint: `mkdir -p ${dirname(path)}`,
      });
    }
    if (code === 'ENOTDIR')
      throw new CliError('conflict', `${path} exists and is no folder.`, { cause: error, hint: 'Choose another one.' });
    throw error;
  }
  if (entries.length > 0) {
    throw new CliError('conflict', `The folder ${path} is not empty.`, {
      hint: 'Choose a folder that does not exist yet.',
    });
  }
}

/** The commit by the server's names; by the store's own when the server is not running. */
async function findCommit(rev: string, o: { repo: Repo; options: CheckoutOptions; session: Session }): Promise<string> {
  try {
    return await resolveCommit(clientOf(o.session, o.options), rev);
  } catch (error) {
    if (!(error instanceof CliError) || error.code !== 'unreachable' || o.options.server) throw error;
    const { resolveRev } = await import('@treeline/ostree');
    return await resolveRev(o.repo, rev).catch(() => {
      throw new CliError('not-found', `The store does not know "${rev}" by itself, and the server is not running.`, {
        cause: error,
        hint: `${error.hint ?? ''}\nOr give (the beginning of) a commit's checksum.`.trim(),
      });
    });
  }
}

/** Removes a tree in which folders may be read-only. */
async function removeTree(path: string): Promise<void> {
  await rm(path, { recursive: true, force: true }).catch(async () => {
    for (const entry of await readdir(path, { withFileTypes: true, recursive: true })) {
      if (entry.isDirectory()) await chmod(join(entry.parentPath, entry.name), 0o700);
    }
    await rm(path, { recursive: true, force: true });
  });
}
