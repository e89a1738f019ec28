import { statSync } from 'node:fs';
import { join } from 'node:path';
import type { Command } from 'commander';
import { shortPath } from '../connection/folder.ts';
import { CliError } from '../errors.ts';
import { paint } from '../output/colour.ts';
import { changeTable, countChanges, downloadLine } from '../output/diff.ts';
import { printDocument, printText } from '../output/document.ts';
import { slowWork } from '../output/progress.ts';
import { count, shortId } from '../output/words.ts';
import { optionsOf, type Session } from '../session.ts';

type CommitOptions = { branch?: string; message?: string; owner?: string };

/** Of more changes only so many are shown. */
const SHOWN = 40;

export function declare(command: Command, session: Session): void {
  command
    .description(
      'Commit a workspace into your own repository, and say what was changed. Files that were not changed are not read. ' +
        'Owners, extended attributes and set-user-id bits that an ordinary user cannot keep are those of the commit that ' +
        'was checked out; what is new is root’s.',
    )
    .argument('[dir]', 'the workspace, or a folder in it', '.')
    .option('-b, --branch <ref>', 'the ref to move (default: dev/USER/FOLDER, then the one of the last commit)')
    .option('-m, --message <text>', 'what was done')
    .option('--owner <uid:gid>', 'whose new files are, when not root’s')
    .addHelpText('after', '\nExample:\n  treeline commit ~/robot -m "Steer with more care"')
    .action((dir: string, _: object, self: Command) => run(dir, self, session));
}

async function run(dir: string, self: Command, session: Session): Promise<void> {
  const options = optionsOf<CommitOptions>(self);
  const { commitWorkspace } = await import('../workspace/commit.ts');
  const { findWorkspace } = await import('../workspace/record.ts');
  const { describeChange, diffTrees, lackingSize } = await import('@treeline/ostree');
  const workspace = findWorkspace(dir);
  const owner = options.owner === undefined ? undefined : parseOwner(options.owner);
  if (owner && !workspace.record.userMode) {
    throw new CliError('usage', 'This workspace keeps owners as they are on disk: chown new files instead.');
  }
  const progress = slowWork('looking for changes');
  const { signal } = session;
  const made = await commitWorkspace(workspace, {
    ...(options.branch === undefined ? {} : { ref: options.branch }),
    ...(options.message === undefined ? {} : { message: options.message }),
    ...(owner ? { owner } : {}),
    signal,
  }).finally(() => progress.close());
  const { commit, ref, base, before, after, home } = made;
  const folder = shortPath(workspace.folder);
  if (commit === null) {
    if (options.json) return printDocument({ commit: null, ref: null, base, changes: [] });
    return printText(`Nothing was changed in ${folder} since ${shortId(base)}.`);
  }
  const changes = (await diffTrees(home.repo, before, after, { download: true, signal })).map(describeChange);
  const download = lackingSize(home.repo, before, after);
  // The commit itself travels, too.
  const { size } = statSync(join(home.repo.path, 'objects', commit.slice(0, 2), `${commit.slice(2)}.commit`));
  const fetched = { objects: download.objects + 1, bytes: download.bytes + size };
  if (options.json) return printDocument({ commit, ref, base, changes, download: fetched });
  printText(changeTable(changes.slice(0, SHOWN)));
  if (changes.length > SHOWN)
    printText(
      `and ${count(changes.length - SHOWN, 'more path', 'more paths')}: treeline diff ${base.slice(0, 10)} ${ref}`,
    );
  printText(`${paint('bold', ref)} is ${shortId(commit)}  ${countChanges(changes)}`);
  printText(downloadLine(fetched));
  printText(paint('dim', `Let a device have it: treeline serve ${folder}`));
}

function parseOwner(text: string): { uid: number; gid: number } {
  const match = /^(\d{1,10})(?::(\d{1,10}))?$/.exec(text);
  if (!match) {
    throw new CliError('usage', `--owner takes numbers, as devices may know other names: ${text}`, {
      hint: 'Write it like this: --owner 1000:1000',
    });
  }
  return { uid: Number(match[1]), gid: Number(match[2] ?? match[1]) };
}
