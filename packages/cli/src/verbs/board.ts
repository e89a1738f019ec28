import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import type { Command } from 'commander';
import { CliError } from '../errors.ts';
import { printDocument, printProse, printText } from '../output/document.ts';
import { oneLine } from '../output/text.ts';
import { optionsOf, type Session } from '../session.ts';

type RunOptions = { board: string; name?: string; log?: string };

export function declare(command: Command, session: Session): void {
  command.description('Boards: those that come with Treeline, and running an image on one.');

  command
    .command('list', { isDefault: true })
    .summary('boards that come with Treeline')
    .description('Boards that come with Treeline. A file of your own describes any other: docs/board.md.')
    .action(async (_: object, self: Command) => {
      const { ownBoards, readBoardFile } = await import('@treeline/board');
      const boards = await Promise.all((await ownBoards()).map((name) => readBoardFile(name)));
      if (optionsOf(self).json) return printDocument({ boards });
      for (const { name, description } of boards) printText(oneLine(`${name.padEnd(20)} ${description}`));
    });

  command
    .command('run')
    .argument('<image>', 'a disk image: FILE.img, also .xz or .zst')
    .summary('boot an image on a board, with its console here')
    .description(
      'Boot a disk image on a board, by default one that QEMU plays, with its console in this terminal. A board in QEMU ' +
        'works on a copy, and reaches this machine as 10.0.2.2. Ctrl-] switches it off.',
    )
    .option('--board <board>', 'which board, or the path of a board file', 'qemu-x86_64')
    .option('--name <name>', 'what `treeline console` calls it (default: the name of the board)')
    .option('--log <file>', 'keep what it prints in a file')
    .addHelpText(
      'after',
      '\nExample:\n  treeline image robot/stable --board qemu-x86_64 --out robot.img\n  treeline board run robot.img',
    )
    .action((image: string, _: object, self: Command) => run(image, self, session));
}

async function run(image: string, self: Command, session: Session): Promise<void> {
  const options = optionsOf<RunOptions>(self);
  const { BoardError, openBoard, readBoardFile, serveConsole } = await import('@treeline/board');
  const { attachConsole } = await import('@treeline/board');
  const { attachTerminal } = await import('../board/terminal.ts');
  const folder = await mkdtemp(join(tmpdir(), 'treeline-board-'));
  try {
    const file = await readBoardFile(options.board);
    if (file.drive === undefined) {
      throw new CliError('usage', `Nothing says how ${file.name} is switched: its board file has no drive.`);
    }
    const log = options.log === undefined ? null : resolve(options.log);
    const board = await openBoard({ name: file.name, drive: file.drive, folder, log });
    try {
      const name = options.name ?? file.name;
      const stop = await serveConsole(board.console, { name });
      try {
        await board.flash(resolve(image), { signal: session.signal });
        printProse(`${file.name} boots ${oneLine(image)}. Ctrl-] switches it off; elsewhere: treeline console ${name}`);
        const line = await attachConsole(name);
        await board.powerOn({ signal: session.signal });
        await Promise.race([attachTerminal(line, session.signal), board.trouble]);
      } finally {
        await stop();
      }
    } finally {
      await board.close();
    }
  } catch (error) {
    if (!(error instanceof BoardError)) throw error;
    throw new CliError('failed', `${error.message}.`, { hint: error.hint, cause: error });
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}
