import type { Command } from 'commander';
import { printDocument, printText } from '../output/document.ts';
import { fetchRun } from '../runs.ts';
import { clientOf, optionsOf, type Session } from '../session.ts';

export function declare(command: Command, session: Session): void {
  command
    .description('Cancel a run. Executions that another run still wants go on.')
    .argument('<run>', 'number or id of the run')
    .action(async (run: string, _: object, self: Command) => {
      const options = optionsOf(self);
      const client = clientOf(session, options);
      await client.send('POST', `runs/${encodeURIComponent(run)}/cancel`);
      const detail = await fetchRun(client, run);
      if (options.json) return printDocument(detail);
      printText(`Run ${detail.number} is ${detail.state}.`);
    });
}
