import { existsSync } from 'node:fs';
import { join, resolve } from 'node:path';
import type { CopyMode, ExportedStatic } from '@treeline/ostree';
import { type Command, InvalidArgumentError } from 'commander';
import { span } from '../arguments.ts';
import { dataFolder, shortPath } from '../connection/folder.ts';
import { CliError } from '../errors.ts';
import { formatBytes } from '../output/bytes.ts';
import { paint } from '../output/colour.ts';
import { printDocument, printText } from '../output/document.ts';
import { formatDuration } from '../output/duration.ts';
import { liveLines } from '../output/progress.ts';
import { count } from '../output/words.ts';
import { optionsOf, type Session } from '../session.ts';

type ExportOptions = { delete?: boolean; keep: number; copy?: boolean; link?: boolean; grace: number; data?: string };

export function declare(command: Command, session: Session): void {
  command
    .description(
      'Make or update a copy of a published repository that any web server can serve as it is, or that rsync or an upload to a ' +
        'bucket starts from. Only what is new is touched, and clients may pull from the copy meanwhile.',
    )
    .argument('<repo>', 'a published repository of the data folder here, or the path of any archive repository')
    .argument('<dir>', 'the folder: empty, or made by an earlier export')
    .option('--delete', 'delete what the repository does not have any more')
    .option('--keep <span>', 'how long that stays after it was first missed, such as 1h (with --delete)', span, 3600)
    .option('--link', 'hard links to the repository, or nothing')
    .option('--copy', 'files of their own (default: hard links where possible, else copies)')
    .option(
      '--grace <seconds>',
      'how long signatures of two summaries are there together when one replaces the other',
      grace,
      2,
    )
    .addHelpText(
      'after',
      `
Examples:
  treeline export public /srv/www/os
  treeline export public /srv/www/os --delete --keep 1d
  treeline export ./repo /mnt/usb/os --copy

What a web server has to do with it (headers, and the + in names): docs/serving.md`,
    )
    .action(async (repository: string, folder: string, _: object, self: Command) => {
      await run(repository, folder, optionsOf<ExportOptions>(self), session);
    });
}

async function run(
  repository: string,
  folder: string,
  options: ExportOptions & { json?: boolean },
  session: Session,
): Promise<void> {
  if (options.link && options.copy) throw new CliError('usage', '--link and --copy contradict each other.');
  const source = find(repository, options.data);
  const { exportStatic } = await import('@treeline/ostree');
  session.interruptedHint = 'What is there already stays: the same command goes on where it was.';
  const screen = liveLines(process.stderr);
  const mode: CopyMode = options.link ? 'link' : options.copy ? 'copy' : 'auto';
  const began = Date.now();
  let shown = 0;
  let done: ExportedStatic;
  try {
    done = await exportStatic(source, folder, {
      mode,
      grace: options.grace,
      ...(options.delete ? { deleteAfter: options.keep } : {}),
      signal: session.signal,
      onProgress: ({ done: files, total }) => {
        if (!screen.live || Date.now() - shown < 100) return;
        shown = Date.now();
        screen.show([paint('dim', `${screen.tick()} ${files} of ${count(total, 'file')}`, process.stderr)]);
      },
    });
  } finally {
    screen.close();
  }
  const milliseconds = Date.now() - began;
  if (options.json) return printDocument({ repository: source, folder: resolve(folder), ...done, milliseconds });
  printText(`${paint('bold', shortPath(resolve(folder)))} ${sentence(done)} (${formatDuration(milliseconds)})`);
  if (done.waiting > 0) printText(paint('dim', `${count(done.waiting, 'file')} will go when their time has come`));
}

function sentence({ files, bytesCopied, refs, summary, deleted }: ExportedStatic): string {
  const parts = [
    ...(files > 0 ? [`got ${count(files, 'file')}${bytesCopied > 0 ? ` (${formatBytes(bytesCopied)})` : ''}`] : []),
    ...(refs > 0 ? [`moved ${count(refs, 'ref')}`] : []),
    ...(summary ? ['has a new summary'] : []),
    ...(deleted > 0 ? [`lost ${count(deleted, 'file')}`] : []),
  ];
  return parts.length === 0 ? 'was up to date' : parts.join(', ');
}

/** A path is one that has a slash in it, or that is a repository; all else is a name. */
function find(repository: string, data: string | undefined): string {
  if (repository.includes('/') || repository === '.' || existsSync(join(repository, 'config'))) return repository;
  const path = join(dataFolder(data), 'repos', repository);
  if (existsSync(join(path, 'config'))) return path;
  throw new CliError('not-found', `There is no published repository ${repository} in ${shortPath(dataFolder(data))}.`, {
    hint: 'Name the data folder of the server with --data, or the path of a repository.',
  });
}

function grace(text: string): number {
  if (/^\d{1,4}(\.\d+)?$/.test(text)) return Number(text);
  throw new InvalidArgumentError('It must be a number of seconds.');
}
