import type { Run, RunDetail } from '@treeline/server';
import type { Command } from 'commander';
import type { Client } from '../connection/client.ts';
import { CliError } from '../errors.ts';
import { paint } from '../output/colour.ts';
import { printDocument, printJsonLine, printText } from '../output/document.ts';
import { oneLine } from '../output/text.ts';
import { clientOf, optionsOf, type Session } from '../session.ts';
import { watchRun } from '../watch.ts';

type RunOptions = { wait?: boolean; revision?: string; reason?: string };

export function declare(command: Command, session: Session): void {
  command
    .description(
      'Fetch a project now and run its newest revision with the newest of every other; without a project, run the ' +
        'newest revisions of all. What has the same inputs as before is reused, so a run of nothing new takes no time.',
    )
    .argument('[project]', 'the project to fetch (default: run all as they are)')
    .option('-w, --wait', 'watch it to its end; exit code 1 if it failed')
    .option('--revision <revision>', "a revision, tag or branch of the project instead of its branch's newest")
    .option('--reason <text>', 'what the list of runs says about it (without a project)')
    .addHelpText('after', '\nWith --json and --wait: one line for each change of the run, the last one is its end.')
    .action(async (project: string | undefined, _: object, self: Command) => {
      const options = optionsOf<RunOptions>(self);
      checkTogether(project, options);
      const client = clientOf(session, options);
      const run = await start(client, project, options);
      if (!options.wait) {
        if (options.json) return printDocument(run);
        printText(`Run ${run.number}: ${oneLine(run.reason)}`);
        return printText(paint('dim', `treeline status ${run.number}`));
      }
      session.interruptedHint = `Run ${run.number} goes on. Look: treeline status ${run.number}; stop it: treeline cancel ${run.number}`;
      if (!options.json) printText(`Run ${paint('bold', String(run.number))}  ${oneLine(run.reason)}`);
      const quiet = options.json === true;
      const ended = await watchRun(client, run.id, {
        signal: session.signal,
        quiet,
        ...(quiet ? { onChange: changes() } : {}),
      });
      if (ended.state !== 'passed') throw notPassed(ended);
    });
}

function checkTogether(project: string | undefined, options: RunOptions): void {
  if (options.revision !== undefined && project === undefined) {
    throw new CliError('usage', '--revision needs the project that it is a revision of.', {
      hint: 'treeline run PROJECT --revision REVISION',
    });
  }
  if (options.reason !== undefined && project !== undefined) {
    throw new CliError('usage', '--reason is for a run of all projects: the reason of this run is the revision.', {
      hint: `treeline run ${project}, or treeline run --reason "${options.reason}"`,
    });
  }
}

function start(client: Client, project: string | undefined, options: RunOptions): Promise<Run> {
  if (project === undefined) return client.send('POST', 'runs', options.reason ? { reason: options.reason } : {});
  const body = options.revision ? { revision: options.revision } : {};
  return client.send('POST', `projects/${encodeURIComponent(project)}/run`, body, { work: `fetching ${project}` });
}

/** Prints a run as a JSON line whenever something other than the clock has changed in it. */
function changes(): (run: RunDetail) => void {
  let before = '';
  return (run) => {
    const text = JSON.stringify({
      ...run,
      durationMs: run.finishedAt ? run.durationMs : null,
      jobs: run.jobs.map((job) => ({ ...job, durationMs: job.finishedAt ? job.durationMs : null })),
    });
    if (text !== before) printJsonLine(run);
    before = text;
  };
}

function notPassed(run: RunDetail): CliError {
  const failed = run.jobs.find((job) => job.state === 'failed');
  const what = run.state === 'failed' && failed ? `${failed.id} failed` : run.state;
  return new CliError('failed', `Run ${run.number} did not pass: ${what}.`, {
    hint: failed?.log ? `treeline logs ${failed.id} --run ${run.number}` : `treeline status ${run.number}`,
  });
}
