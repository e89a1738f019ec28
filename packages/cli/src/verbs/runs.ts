import type { Run } from '@treeline/server';
import type { Command } from 'commander';
import { wholeNumber } from '../arguments.ts';
import { printDocument, printText } from '../output/document.ts';
import { formatAge, formatDuration } from '../output/duration.ts';
import { runCounts, stateStyle } from '../output/run.ts';
import { formatTable } from '../output/table.ts';
import { clientOf, optionsOf, type Session } from '../session.ts';

export function declare(command: Command, session: Session): void {
  command
    .description('The latest runs, newest first.')
    .option('-n, --limit <number>', 'how many', wholeNumber, 20)
    .action(async (_: object, self: Command) => {
      const options = optionsOf<{ limit: number }>(self);
      const answer = await clientOf(session, options).get<{ runs: Run[] }>('runs', { limit: options.limit });
      if (options.json) return printDocument(answer);
      if (answer.runs.length === 0)
        return printText('Nothing has run yet. A push to a project starts a run; so does: treeline run');
      const now = Date.now();
      printText(
        formatTable(
          [
            { header: 'run', align: 'right' },
            { header: 'state' },
            { header: 'started by', shrink: true },
            { header: 'jobs', shrink: true },
            { header: 'time', align: 'right' },
            { header: 'began', align: 'right' },
          ],
          answer.runs.map((run) => [
            String(run.number),
            { text: run.state, style: stateStyle(run.state) },
            run.reason,
            run.error ? { text: run.error.message, style: 'red' } : runCounts(run),
            formatDuration(run.durationMs ?? now - Date.parse(run.createdAt)),
            formatAge(Date.parse(run.createdAt), now),
          ]),
        ),
      );
    });
}
