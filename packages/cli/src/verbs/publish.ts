import type { Publication } from '@treeline/server';
import type { Command } from 'commander';
import type { Client } from '../connection/client.ts';
import { CliError } from '../errors.ts';
import { printDocument } from '../output/document.ts';
import { assertPublished, printPublished, settled } from '../publications.ts';
import { type Channel, parseChannel, resolveCommit } from '../revisions.ts';
import { clientOf, optionsOf, type Session } from '../session.ts';

type PublishOptions = { to: string[]; expect?: string[]; reason?: string; rebind?: boolean };
type Item = { commit: string; channel: string; expect?: string | null };

export function declare(command: Command, session: Session): void {
  command
    .description(
      'Make a commit the release of a channel: its objects are copied into the published repository, it is signed, ' +
        'then the channel is moved to it. Devices that follow the channel update to it. Several commits and channels ' +
        'of one repository become visible together, or none of them does.',
    )
    .argument('<commits...>', 'checksum or its beginning, project/artifact, a channel, a release number')
    .requiredOption(
      '--to <channel>',
      'REPO:CHANNEL, or CHANNEL of the repository `public`; once for each commit',
      collect,
    )
    .option(
      '--expect <commit>',
      'publish only if the channel has this commit now; `none`: only if it does not exist',
      collect,
    )
    .option(
      '--rebind',
      'of a commit that was made for other refs (ostree.ref-binding), publish one of the same tree made for these channels',
    )
    .option('--reason <text>', 'what the list of releases says about it')
    .addHelpText(
      'after',
      '\nExamples:\n' +
        '  treeline publish system/system --to public:robot/edge\n' +
        '  treeline publish robot/edge --to robot/stable --to robot/canary     one commit, two channels\n' +
        '  treeline publish feature --to robot/stable --rebind                 committed as `feature`\n' +
        '  treeline publish system/arm system/x86 --to arm/edge --to x86/edge  each to its own, together',
    )
    .action(async (revs: string[], _: object, self: Command) => {
      const options = optionsOf<PublishOptions>(self);
      const channels = readChannels(revs, options);
      const client = clientOf(session, options);
      const items = await readItems(client, revs, { channels, expected: options.expect });
      const { repository } = channels[0]!;
      const asked = await client.send<Publication>(
        'POST',
        'publish',
        {
          ...{ items },
          ...(repository ? { repository } : {}),
          ...(options.reason ? { reason: options.reason } : {}),
          ...(options.rebind ? { rebind: true } : {}),
        },
        { work: 'publishing' },
      );
      session.interruptedHint = `The server goes on publishing. Look: treeline release show ${asked.number}`;
      const publication = await settled(client, asked, session.signal);
      if (options.json) printDocument(publication);
      assertPublished(publication);
      if (!options.json) printPublished(publication);
    });
}

function collect(value: string, before: string[] = []): string[] {
  return [...before, value];
}

/** The n-th commit goes to the n-th channel; one commit alone goes to all of them. Throws `usage`. */
function readChannels(revs: readonly string[], options: PublishOptions): Channel[] {
  const channels = options.to.map(parseChannel);
  if (revs.length !== 1 && revs.length !== channels.length) {
    throw new CliError('usage', `There are ${revs.length} commits for ${channels.length} channels.`, {
      hint: 'Give one --to for each commit, in the same order, or one commit for all channels.',
    });
  }
  if (options.expect && options.expect.length !== channels.length) {
    throw new CliError('usage', `There are ${options.expect.length} --expect for ${channels.length} channels.`, {
      hint: 'Give one --expect for each --to, in the same order, or none.',
    });
  }
  const repositories = [...new Set(channels.map(({ repository }) => repository ?? 'public'))];
  if (repositories.length > 1) {
    throw new CliError('usage', `What is published together is in one repository, not in ${repositories.join(', ')}.`, {
      hint: 'Publish to each repository by itself.',
    });
  }
  return channels;
}

async function readItems(
  client: Client,
  revs: readonly string[],
  { channels, expected }: { channels: readonly Channel[]; expected: readonly string[] | undefined },
): Promise<Item[]> {
  const items: Item[] = [];
  for (const [index, { channel }] of channels.entries()) {
    const commit = await resolveCommit(client, revs[index] ?? revs[0]!);
    const expect = expected?.[index];
    const held = expect === undefined || expect === 'none' ? null : await resolveCommit(client, expect);
    items.push({ commit, channel, ...(expect === undefined ? {} : { expect: held }) });
  }
  return items;
}
