import type { MadeKey, Repository } from '@treeline/server';
import type { Command } from 'commander';
import { refuseWords } from '../arguments.ts';
import { paint } from '../output/colour.ts';
import { printDocument, printText } from '../output/document.ts';
import { formatAge } from '../output/duration.ts';
import { fields } from '../output/fields.ts';
import { formatTable } from '../output/table.ts';
import { oneLine } from '../output/text.ts';
import { shortId } from '../output/words.ts';
import { readSettings, repositorySettings, showKey } from '../repository-settings.ts';
import { clientOf, optionsOf, type Session } from '../session.ts';

export function declare(command: Command, session: Session): void {
  command.description(
    'The published repositories: what each holds, who may read it, which labels it takes in, who signs.',
  );

  command
    .command('list', { isDefault: true })
    .summary('list the repositories (what `treeline repository` alone does)')
    .description('The published repositories.')
    .allowExcessArguments()
    .action((_: object, self: Command) => list(self, session));

  command
    .command('show')
    .argument('<name>', 'the repository')
    .summary('one repository: its settings and channels')
    .description('One repository: its settings, what its channels hold, and the keys that its clients must trust.')
    .action((name: string, _: object, self: Command) => show(name, self, session));

  command
    .command('add')
    .argument('<name>', 'its name')
    .argument('[settings...]', 'name=value, as for `set`')
    .summary('make a repository')
    .description(
      'Make a published repository. Nobody but whoever may read everything can read it, unless access=public.',
    )
    .addHelpText('after', `\n${settingsHelp()}\n\nExample:\n  treeline repository add partners admits=internal`)
    .action(async (name: string, words: string[], _: object, self: Command) => {
      const options = optionsOf(self);
      const settings = readSettings(words);
      const made = await clientOf(session, options).send<Repository>('POST', 'repositories', { name, settings });
      if (options.json) return printDocument(made);
      printText(formatRepository(made));
    });

  command
    .command('set')
    .argument('<name>', 'the repository')
    .argument('<settings...>', 'name=value')
    .summary('change how a repository is run')
    .description('Change settings of a repository; those that are not named stay. With other keys it is signed anew.')
    .addHelpText('after', `\n${settingsHelp()}\n\nExample:\n  treeline repository set public signing=ed25519:release`)
    .action(async (name: string, words: string[], _: object, self: Command) => {
      const options = optionsOf(self);
      const path = `repositories/${encodeURIComponent(name)}`;
      const settings = readSettings(words);
      const changed = await clientOf(session, options).send<Repository>('PATCH', path, settings);
      if (options.json) return printDocument(changed);
      printText(formatRepository(changed));
    });

  command
    .command('remove')
    .argument('<name>', 'the repository')
    .option('--force', 'even while devices follow it')
    .summary('remove a repository with what is published in it')
    .description(
      'Remove a repository with all that is published in it. The store keeps the commits for its own grace period.',
    )
    .action(async (name: string, _: object, self: Command) => {
      const options = optionsOf<{ force?: boolean }>(self);
      const query = options.force ? '?force=true' : '';
      await clientOf(session, options).send('DELETE', `repositories/${encodeURIComponent(name)}${query}`);
      if (options.json) return printDocument({ removed: name });
      printText(`${name} is removed. What was published in it stays in the store until its grace is over.`);
    });

  command
    .command('new-key')
    .argument('<name>', 'name of the key')
    .summary('make an ed25519 key to sign with')
    .description('Make an ed25519 key on the server. Its secret half stays there; clients are told the public one.')
    .action(async (name: string, _: object, self: Command) => {
      const options = optionsOf(self);
      const key = await clientOf(session, options).send<MadeKey>('POST', 'signing-keys', { name });
      if (options.json) return printDocument(key);
      printText(`${paint('bold', oneLine(key.name))}  ${oneLine(key.publicKey)}`);
      printText(paint('dim', `Sign with it: treeline repository set NAME signing=ed25519:${oneLine(key.name)}`));
    });
}

function settingsHelp(): string {
  const width = Math.max(...repositorySettings.map(({ name, form }) => name.length + form.length + 1));
  const lines = repositorySettings.map(({ name, form, what }) => `  ${`${name}=${form}`.padEnd(width)}  ${what}`);
  return `Settings:\n${lines.join('\n')}`;
}

async function list(self: Command, session: Session): Promise<void> {
  refuseWords(self);
  const options = optionsOf(self);
  const answer = await clientOf(session, options).get<{ repositories: Repository[] }>('repositories');
  if (options.json) return printDocument(answer);
  if (answer.repositories.length === 0) return printText('No repositories yet. Make one: treeline repository add NAME');
  const rows = answer.repositories.map(({ name, settings, channels }) => [
    name,
    settings.access,
    settings.admits.join(',') || 'public',
    settings.signing.map(showKey).join(',') || '-',
    String(channels.length),
  ]);
  printText(
    formatTable(
      [
        { header: 'repository' },
        { header: 'access' },
        { header: 'admits', shrink: true },
        { header: 'signing', shrink: true },
        { header: 'channels', align: 'right' },
      ],
      rows,
    ),
  );
}

async function show(name: string, self: Command, session: Session): Promise<void> {
  const options = optionsOf(self);
  const repository = await clientOf(session, options).get<Repository>(`repositories/${encodeURIComponent(name)}`);
  if (options.json) return printDocument(repository);
  printText(formatRepository(repository));
}

function formatRepository({ name, settings, path, publicKeys, channels, refreshing }: Repository): string {
  const parts = [
    fields([
      ['repository', paint('bold', oneLine(name))],
      ['address', `${oneLine(path)} of the server`],
      ...repositorySettings.map((one): [string, string] => [one.name, oneLine(one.show(settings))]),
      ...publicKeys.map(({ key, publicKey }): [string, string] => [oneLine(key), `public key ${oneLine(publicKey)}`]),
    ]),
  ];
  if (refreshing) parts.push(paint('yellow', 'Its channels are being signed anew.'));
  const now = Date.now();
  if (channels.length > 0) {
    const rows = channels.map(({ channel, commit, publishedAt }) => [
      channel,
      { text: shortId(commit), style: 'yellow' as const },
      formatAge(Date.parse(publishedAt), now),
    ]);
    parts.push(
      formatTable(
        [{ header: 'channel', shrink: true }, { header: 'commit' }, { header: 'published', align: 'right' }],
        rows,
      ),
    );
  }
  return parts.join('\n\n');
}
