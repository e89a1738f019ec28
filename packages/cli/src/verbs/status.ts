import type { RunDetail } from '@treeline/server';
import type { Command } from 'commander';
import { paint } from '../output/colour.ts';
import { printDocument, printText } from '../output/document.ts';
import { formatRun } from '../output/run.ts';
import { oneLine } from '../output/text.ts';
import { shortId } from '../output/words.ts';
import { fetchRun } from '../runs.ts';
import { clientOf, optionsOf, type Session } from '../session.ts';

export function declare(command: Command, session: Session): void {
  command
    .description('The jobs of a run: their state, why they ran again or what they wait for, and how long they took.')
    .argument('[run]', 'number or id of a run (default: the newest)')
    .option('--why', 'every difference between the cache keys of this run and the one before')
    .option('--sources', 'the git revisions that the run is about')
    .action(async (run: string | undefined, _: object, self: Command) => {
      const options = optionsOf<{ why?: boolean; sources?: boolean }>(self);
      const detail = await fetchRun(clientOf(session, options), run);
      if (options.json) return printDocument(detail);
      printText(formatRun(detail, Date.now()));
      if (options.sources) printText(`\n${formatManifest(detail)}`);
      if (options.why) printText(`\n${formatWhy(detail)}`);
    });
}

function formatManifest(run: RunDetail): string {
  return run.manifest
    .map(
      (source) =>
        `${paint('bold', source.project)} ${shortId(source.revision)} ${oneLine(source.subject)}  ${paint('dim', oneLine(source.url))}`,
    )
    .join('\n');
}

function formatWhy(run: RunDetail): string {
  const jobs = run.jobs.filter((job) => job.why.length > 0);
  if (jobs.length === 0) return 'No job of this run has a cache key that differs from that of its last run.';
  return jobs
    .map((job) => {
      const lines = job.why.map(
        (difference) => `  ${paint('cyan', oneLine(difference.field))}  ${oneLine(difference.message)}`,
      );
      return [paint('bold', job.id), ...lines].join('\n');
    })
    .join('\n');
}
