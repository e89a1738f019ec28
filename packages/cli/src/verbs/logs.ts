import { setTimeout as sleep } from 'node:timers/promises';
import type { Job } from '@treeline/server';
import type { Command } from 'commander';
import { type Client, decodeText } from '../connection/client.ts';
import { CliError } from '../errors.ts';
import { printDocument, printJsonLine } from '../output/document.ts';
import { manyLines } from '../output/text.ts';
import { fetchRun, isOver } from '../runs.ts';
import { clientOf, optionsOf, type Session } from '../session.ts';

type LogsOptions = { follow?: boolean; run?: string };

/** A server that restarts while its log is followed is waited for this long. */
const patience = 60_000;

export function declare(command: Command, session: Session): void {
  command
    .description('What a job printed.')
    .argument('<job>', 'a job as `project/job` (or `job`, if only one project has it), or the id of an execution')
    .option('-f, --follow', 'go on until the job has ended')
    .option('--run <run>', 'number or id of the run (default: the newest)')
    .addHelpText('after', '\nWith --json one document {job, execution, log}; with --follow lines {"text": …}.')
    .action(async (job: string, _: object, self: Command) => {
      const options = optionsOf<LogsOptions>(self);
      const client = clientOf(session, options);
      const found = await findExecution(client, job, { ...options, signal: session.signal });
      if (options.follow)
        return follow(client, found.execution, { json: options.json === true, signal: session.signal });
      let log = '';
      const collect = (text: string | null) => {
        log += text ?? '';
      };
      const write = options.json ? collect : textWriter();
      for await (const text of decodeText(client.stream(logPath(found.execution)))) write(text);
      write(null);
      if (options.json) printDocument({ ...found, log });
    });
}

function logPath(execution: string): string {
  return `executions/${encodeURIComponent(execution)}/log`;
}

/** The execution of a job in a run; a word that names no job of it is taken as the id of an execution. */
async function findExecution(
  client: Client,
  name: string,
  options: LogsOptions & { signal: AbortSignal },
): Promise<{ job: string | null; execution: string }> {
  for (;;) {
    const run = await fetchRun(client, options.run).catch((error: unknown) => {
      if (error instanceof CliError && error.code === 'not-found' && !options.run && !name.includes('/')) return null;
      throw error;
    });
    const job = run && findJob(run.jobs, name);
    if (!run || !job) {
      if (!name.includes('/') && !options.run) return { job: null, execution: name };
      throw new CliError('not-found', `Run ${run?.number ?? ''} has no job ${name}.`, {
        hint: suggestion(run?.jobs ?? []),
      });
    }
    if (job.kind === 'compose') {
      throw new CliError('not-found', `${job.id} has no log: it is a composition, which the server makes by itself.`, {
        hint: job.failure ? job.failure.message : `It ${job.state === 'passed' ? 'passed' : `is ${job.state}`}.`,
      });
    }
    if (job.executionId) return { job: job.id, execution: job.executionId };
    if (!options.follow || isOver(run)) {
      throw new CliError(
        'not-found',
        `${job.id} has no log in run ${run.number}: it is ${job.state}${job.blockedOn.length > 0 ? ` (${job.blockedOn.join(', ')})` : ''}.`,
        {
          hint:
            job.state === 'blocked' || job.state === 'queued'
              ? `To wait for it: treeline logs ${job.id} --follow`
              : undefined,
        },
      );
    }
    await sleep(500, undefined, { signal: options.signal });
  }
}

function findJob(jobs: Job[], name: string): Job | undefined {
  const exact = jobs.find((job) => job.id === name);
  if (exact) return exact;
  const named = jobs.filter((job) => job.name === name);
  if (named.length > 1) {
    throw new CliError('usage', `More than one project has a job ${name}.`, {
      hint: `Which one? ${named.map((job) => job.id).join(', ')}`,
    });
  }
  return named[0];
}

function suggestion(jobs: Job[]): string | undefined {
  return jobs.length > 0 ? `Its jobs: ${jobs.map((job) => job.id).join(', ')}` : undefined;
}

/** Follows a log to its end; after a restart of the server it goes on where it was. */
async function follow(client: Client, execution: string, o: { json: boolean; signal: AbortSignal }): Promise<void> {
  const write = o.json
    ? (text: string | null) => {
        if (text) printJsonLine({ text });
      }
    : textWriter();
  const decoder = new TextDecoder();
  let offset = 0;
  let lastBytes = Date.now();
  for (;;) {
    const before = offset;
    try {
      for await (const chunk of client.stream(logPath(execution), { query: { follow: 1, offset } })) {
        offset += chunk.length;
        lastBytes = Date.now();
        write(decoder.decode(chunk, { stream: true }));
      }
      // A server that is stopped ends the stream just as the end of the job does. To ask again tells them apart.
      if (offset > before) continue;
      write(decoder.decode());
      write(null);
      return;
    } catch (error) {
      const isAway = error instanceof CliError && error.code === 'unreachable';
      if (!isAway || offset === 0 || Date.now() - lastBytes > patience) throw error;
      await sleep(500, undefined, { signal: o.signal });
    }
  }
}

/**
 * Writes a log to stdout: as it is when piped, without what could drive the terminal when there is one. An escape
 * sequence may be cut between two chunks, so a terminal gets whole lines. null ends it.
 */
function textWriter(): (text: string | null) => void {
  const { stdout } = process;
  if (!stdout.isTTY) return (text) => void (text && stdout.write(text));
  let rest = '';
  return (text) => {
    const all = rest + (text ?? '');
    const end = text === null ? all.length : Math.max(all.lastIndexOf('\n'), all.lastIndexOf('\r')) + 1;
    rest = all.slice(end);
    if (end > 0) stdout.write(`${manyLines(all.slice(0, end))}\x1b[0m`);
    if (text === null && end > 0 && !all.endsWith('\n')) stdout.write('\n');
  };
}
