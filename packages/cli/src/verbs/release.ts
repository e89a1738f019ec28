import type { Publication, ReleaseDetail } from '@treeline/server';
import type { Command } from 'commander';
import { wholeNumber } from '../arguments.ts';
import { CliError } from '../errors.ts';
import { paint } from '../output/colour.ts';
import { printDocument, printText } from '../output/document.ts';
import { formatAge } from '../output/duration.ts';
import { formatRelease, stateWords } from '../output/release.ts';
import { stateStyle } from '../output/run.ts';
import { formatTable } from '../output/table.ts';
import { shortId } from '../output/words.ts';
import { assertPublished, printPublished, settled, stepOf } from '../publications.ts';
import { fetchReleases, parseChannel } from '../revisions.ts';
import { clientOf, optionsOf, type Session } from '../session.ts';

type ListOptions = { repository?: string };
type RevertOptions = { to?: number; reason?: string };

export function declare(command: Command, session: Session): void {
  command.description('What was published when, by whom and how, and the way back.');

  command
    .command('list', { isDefault: true })
    .argument('[channel]', 'REPO:CHANNEL or CHANNEL (default: all)')
    .option('--repository <name>', 'only this published repository')
    .summary('what was published when (what `treeline release` alone does)')
    .description('What was published when, newest first. A star marks what a channel has now.')
    .action((name: string | undefined, _: object, self: Command) => list(name, self, session));

  command
    .command('show')
    .argument('<number>', 'the release')
    .summary('one release: who, when, signatures, static deltas')
    .description(
      'One release: who published it when and together with what, which keys signed it, which deltas it has.',
    )
    .action(async (text: string, _: object, self: Command) => {
      const options = optionsOf(self);
      const number = releaseNumber(text);
      const detail = await clientOf(session, options).get<ReleaseDetail>(`releases/${number}`);
      if (options.json) return printDocument(detail);
      printText(formatRelease(detail, Date.now()));
    });

  command
    .command('revert')
    .argument('<channels...>', 'REPO:CHANNEL or CHANNEL; several of one repository go back together')
    .option('--to <number>', 'the release to go back to (default: the one before)', wholeNumber)
    .option('--reason <text>', 'what the list of releases says about it')
    .summary('give a channel back what it had')
    .description('Give a channel back what it had before: a new release of the old commit, which devices update to.')
    .action((names: string[], _: object, self: Command) => revert(names, self, session));

  command
    .command('cancel')
    .argument('<number>', 'the release')
    .summary('give up a release that is being published')
    .description('Give up a release that is being published, with all that would become visible together with it.')
    .action(async (text: string, _: object, self: Command) => {
      const options = optionsOf(self);
      const number = releaseNumber(text);
      const client = clientOf(session, options);
      const detail = await client.send<ReleaseDetail>('POST', `releases/${number}/cancel`);
      if (options.json) return printDocument(detail);
      printText(`Release ${detail.release.number} is given up: its channel stays as it was.`);
    });
}

function releaseNumber(text: string): number {
  const number = Number(text.replace(/^#/, ''));
  if (/^#?\d{1,9}$/.test(text) && number > 0) return number;
  throw new CliError('usage', `"${text}" is no number of a release.`, {
    hint: 'Those that there are: treeline release',
  });
}

async function list(name: string | undefined, self: Command, session: Session): Promise<void> {
  const options = optionsOf<ListOptions>(self);
  const { repository, channel } = name === undefined ? {} : parseChannel(name);
  const answer = await fetchReleases(clientOf(session, options), {
    repository: repository ?? options.repository,
    channel,
  });
  if (options.json) return printDocument(answer);
  if (answer.releases.length === 0) {
    return printText(`Nothing has been published${name ? ` on ${name}` : ''} yet. See: treeline publish --help`);
  }
  const now = Date.now();
  const rows = answer.releases.map((release) => [
    String(release.number),
    { text: release.current ? '*' : '', style: ['bold' as const, 'green' as const] },
    `${release.repository}:${release.channel}`,
    shortId(release.commit),
    { text: stateWords(release), style: stateStyle(release.state) },
    release.state === 'publishing' ? stepOf(release).replace(/^: /, '') : (release.message ?? release.reason),
    formatAge(Date.parse(release.publishedAt ?? release.createdAt), now),
  ]);
  printText(
    formatTable(
      [
        { header: 'release', align: 'right' },
        { header: ' ' },
        { header: 'channel', shrink: true },
        { header: 'commit' },
        { header: 'state' },
        { header: 'why', shrink: true },
        { header: 'when', align: 'right' },
      ],
      rows,
    ),
  );
}

async function revert(names: readonly string[], self: Command, session: Session): Promise<void> {
  const options = optionsOf<RevertOptions>(self);
  const channels = names.map(parseChannel);
  const repositories = new Set(channels.map(({ repository }) => repository ?? 'public'));
  if (repositories.size > 1) {
    throw new CliError('usage', `Channels of several repositories do not go back together: ${names.join(', ')}.`, {
      hint: 'Revert those of each repository by themselves.',
    });
  }
  if (options.to !== undefined && channels.length > 1) {
    throw new CliError('usage', '--to names a release of one channel.', { hint: 'Revert each channel by itself.' });
  }
  const client = clientOf(session, options);
  const asked = await client.send<Publication>(
    'POST',
    'releases/revert',
    {
      repository: [...repositories][0],
      channels: channels.map(({ channel }) => channel),
      ...(options.to === undefined ? {} : { to: options.to }),
      ...(options.reason ? { reason: options.reason } : {}),
    },
    { work: 'publishing' },
  );
  session.interruptedHint = `The server goes on publishing. Look: treeline release show ${asked.number}`;
  const publication = await settled(client, asked, session.signal);
  if (options.json) printDocument(publication);
  assertPublished(publication);
  if (options.json) return;
  printPublished(publication);
  printText(paint('dim', 'Devices that follow it update to it as to any other release.'));
}
