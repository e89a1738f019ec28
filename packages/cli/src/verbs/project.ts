import { existsSync } from 'node:fs';
import { basename, resolve } from 'node:path';
import type { Project } from '@treeline/server';
import type { Command } from 'commander';
import { refuseWords } from '../arguments.ts';
import { CliError } from '../errors.ts';
import { paint } from '../output/colour.ts';
import { printDocument, printText } from '../output/document.ts';
import { formatTable } from '../output/table.ts';
import { oneLine } from '../output/text.ts';
import { shortId } from '../output/words.ts';
import { clientOf, optionsOf, type Session } from '../session.ts';

type List = { projects: Project[] };
type AddOptions = { name?: string; branch?: string; run: boolean };

export function declare(command: Command, session: Session): void {
  command.description('The projects: git repositories with a treeline.yaml, followed by the server.');

  command
    .command('add')
    .summary('follow a git repository')
    .description('Follow a git repository: what is on its branch now is fetched and run, and so is every later push.')
    .argument('<url>', 'what `git fetch` takes, or the path of a repository on this machine')
    .option('--name <name>', 'name of the project (default: from the URL)')
    .option('--branch <branch>', "branch to follow (default: the repository's own default)")
    .option('--no-run', 'fetch without starting a run (while adding projects that need each other)')
    .action((url: string, _: AddOptions, self: Command) => add(url, self, session));

  command
    .command('list', { isDefault: true })
    .summary('list the projects (what `treeline project` alone does)')
    .description('List the projects, their newest revisions and what went wrong when they were last fetched.')
    .allowExcessArguments()
    .action((_: object, self: Command) => list(self, session));

  command
    .command('remove')
    .argument('<name>', 'the project')
    .summary('follow a project no longer')
    .description('Follow a project no longer. What was made from it stays in the store as long as it is used.')
    .action((name: string, _: object, self: Command) => remove(name, self, session));
}

async function add(address: string, self: Command, session: Session): Promise<void> {
  const options = optionsOf<AddOptions>(self);
  const url = projectUrl(address);
  const name = options.name ?? projectName(url);
  const body = {
    name,
    url,
    ...(options.branch ? { branch: options.branch } : {}),
    ...(options.run ? {} : { run: false }),
  };
  const project = await clientOf(session, options).send<Project>('POST', 'projects', body, { work: 'fetching' });
  if (options.json) return printDocument(project);
  printText(`${paint('bold', project.name)} follows ${project.branch} of ${oneLine(project.url)}`);
  if (options.run) printText(paint('dim', 'Its pipeline runs as soon as it is fetched: treeline status'));
}

/** A path becomes an absolute one: the server's working folder is another than the caller's. */
export function projectUrl(address: string): string {
  if (/^[a-z][a-z0-9+.-]*:\/\//i.test(address)) return address;
  const path = resolve(address);
  if (existsSync(path)) return path;
  // git's short form for ssh, user@host:path, has a colon before any slash.
  if (/^[^/]+:/.test(address)) return address;
  throw new CliError('not-found', `There is no repository at ${path}.`, {
    hint: 'Give the path of a git repository, or a URL such as https://example.org/app.git',
  });
}

/** The last part of the URL without `.git`, as `git clone` names its folder. */
export function projectName(url: string): string {
  const path = decodeURIComponent(url.replace(/[?#].*$/, '')).replace(/\/+(\.git\/*)?$/, '');
  const name = basename(path.replaceAll(':', '/')).replace(/\.git$/, '');
  if (/^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$/.test(name)) return name;
  throw new CliError('usage', `No name for the project can be taken from ${url}.`, { hint: 'Give one with --name.' });
}

async function list(self: Command, session: Session): Promise<void> {
  const options = optionsOf(self);
  refuseWords(self);
  const answer: List = await clientOf(session, options).get<List>('projects');
  if (options.json) return printDocument(answer);
  if (answer.projects.length === 0) {
    return printText('No projects yet. Add one with: treeline project add URL|PATH');
  }
  const rows = answer.projects.map((project) => [
    project.name,
    project.branch,
    project.head ? shortId(project.head.revision) : '-',
    project.error
      ? { text: project.error.message, style: 'red' as const }
      : (project.head?.subject ?? 'not fetched yet'),
    project.url,
  ]);
  printText(
    formatTable(
      [
        { header: 'project' },
        { header: 'branch', shrink: true },
        { header: 'revision' },
        { header: 'subject', shrink: true },
        { header: 'url', shrink: true, keep: 'end' },
      ],
      rows,
    ),
  );
  for (const { name, error } of answer.projects) {
    if (error)
      printText(
        `\n${paint('red', `${name}: ${oneLine(error.message)}`)}${error.hint ? `\n  ${oneLine(error.hint)}` : ''}`,
      );
  }
}

async function remove(name: string, self: Command, session: Session): Promise<void> {
  const options = optionsOf(self);
  await clientOf(session, options).send('DELETE', `projects/${encodeURIComponent(name)}`);
  if (options.json) return printDocument({ removed: name });
  printText(`${name} is not followed any more. What was made from it stays in the store as long as it is used.`);
}
