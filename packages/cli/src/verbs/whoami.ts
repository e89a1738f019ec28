import type { WhoAmI } from '@treeline/server';
import type { Command } from 'commander';
import { printDocument, printText } from '../output/document.ts';
import { fields } from '../output/fields.ts';
import { oneLine } from '../output/text.ts';
import { formatToken } from '../output/token.ts';
import { clientOf, optionsOf, type Session } from '../session.ts';

export function declare(command: Command, session: Session): void {
  command
    .description('Who the server takes you for, and what you may do there.')
    .action(async (_: object, self: Command) => {
      const options = optionsOf(self);
      printCaller(await clientOf(session, options).get<WhoAmI>('whoami'), options);
    });
}

export function printCaller(caller: WhoAmI, options: { json?: boolean }): void {
  if (options.json) {
    printDocument(caller);
    return;
  }
  const from: Array<[string, string]> = caller.address === null ? [] : [['from', oneLine(caller.address)]];
  if (caller.token) {
    printText(formatToken(caller.token, Date.now()));
    if (from.length > 0) printText(fields(from));
    return;
  }
  printText(
    fields([
      ['name', `${oneLine(caller.name)}  (the token in the data folder of the server)`],
      ['may', 'everything'],
      ...from,
    ]),
  );
}
