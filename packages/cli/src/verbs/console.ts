import type { Command } from 'commander';
import { CliError } from '../errors.ts';
import { paint } from '../output/colour.ts';
import { printDocument, printProse, printText } from '../output/document.ts';
import { oneLine } from '../output/text.ts';
import { optionsOf, type Session } from '../session.ts';

export function declare(command: Command, session: Session): void {
  command
    .description(
      'Use the serial line of a board that is being tried on this machine, or that `treeline board run` runs: what it ' +
        'prints is shown, what you type goes to it, over all its boots. Ctrl-] leaves; the board goes on.',
    )
    .argument('[id]', 'the device or board; without it, those that there are')
    .addHelpText('after', '\nExample:\n  treeline console treeline-lab-x0123456789abcdef-1')
    .action((id: string | undefined, _: object, self: Command) => console_(id, self, session));
}

async function console_(id: string | undefined, self: Command, session: Session): Promise<void> {
  const options = optionsOf(self);
  const { attachConsole, BoardError, listConsoles } = await import('@treeline/board');
  if (id === undefined) {
    const boards = await listConsoles();
    if (options.json) return printDocument({ boards });
    if (boards.length === 0) printProse('No board is in use on this machine.');
    for (const board of boards) printText(oneLine(board));
    return;
  }
  const { attachTerminal } = await import('../board/terminal.ts');
  try {
    const line = await attachConsole(id);
    if (process.stdout.isTTY) printProse(paint('dim', 'Ctrl-] leaves.'));
    await attachTerminal(line, session.signal);
  } catch (error) {
    if (!(error instanceof BoardError)) throw error;
    throw new CliError('not-found', `${error.message}.`, { hint: error.hint, cause: error });
  }
}
