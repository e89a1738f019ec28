import { setTimeout as sleep } from 'node:timers/promises';
import type { Release } from '@treeline/server';
import type { Command } from 'commander';
import type { Client } from '../connection/client.ts';
import { CliError } from '../errors.ts';
import { paint } from '../output/colour.ts';
import { printDocument, printText } from '../output/document.ts';
import { liveLines } from '../output/progress.ts';
import { shortId } from '../output/words.ts';
import { fetchReleases, parseChannel, resolveCommit } from '../revisions.ts';
import { clientOf, optionsOf, type Session } from '../session.ts';

type PublishOptions = { to: string; expect?: string; reason?: string };

export function declare(command: Command, session: Session): void {
  command
    .description(
      'Make a commit the release of a channel: its objects are copied into the published repository, then the ' +
        'channel is moved to it. Devices that follow the channel update to it.',
    )
    .argument('<commit>', 'a commit: checksum or its beginning, project/artifact, a channel, a release number')
    .requiredOption('--to <channel>', 'REPO:CHANNEL, or CHANNEL of the repository `public`')
    .option('--expect <commit>', 'publish only if the channel has this commit now; `none`: only if it does not exist')
    .option('--reason <text>', 'what the list of releases says about it')
    .action(async (rev: string, _: object, self: Command) => {
      const options = optionsOf<PublishOptions>(self);
      const { repository, channel } = parseChannel(options.to);
      const client = clientOf(session, options);
      const commit = await resolveCommit(client, rev);
      const expect =
        options.expect === undefined
          ? {}
          : { expect: options.expect === 'none' ? null : await resolveCommit(client, options.expect) };
      const asked = await client.send<Release>(
        'POST',
        'publish',
        {
          commit,
          channel,
          ...(repository ? { repository } : {}),
          ...(options.reason ? { reason: options.reason } : {}),
          ...expect,
        },
        { work: 'publishing' },
      );
      session.interruptedHint = `The server goes on publishing. Look: treeline releases ${channel}`;
      const release = await settled(client, asked, session.signal);
      if (options.json) printDocument(release);
      if (release.state === 'abandoned') {
        throw new CliError(
          'conflict',
          `${shortId(commit)} was not published: ${release.message ?? 'something newer came first'}.`,
          {
            hint: `treeline releases ${channel}`,
          },
        );
      }
      if (options.json) return;
      const where = `${release.repository}:${release.channel}`;
      const before = release.previous
        ? `was ${shortId(release.previous)}: treeline diff ${channel}^ ${channel}`
        : 'the first of this channel';
      printText(`${paint('bold', where)} is now ${shortId(release.commit)}, release ${release.number}`);
      printText(paint('dim', before));
    });
}

/** Waits until a release is published or given up. */
async function settled(client: Client, asked: Release, signal: AbortSignal): Promise<Release> {
  const screen = liveLines(process.stderr);
  let release = asked;
  try {
    while (release.state === 'publishing') {
      screen.show([paint('dim', `${screen.tick()} publishing ${shortId(release.commit)}`, process.stderr)]);
      await sleep(200, undefined, { signal });
      const { releases } = await fetchReleases(client, { repository: asked.repository, channel: asked.channel });
      release = releases.find(({ id }) => id === asked.id) ?? release;
    }
  } finally {
    screen.close();
  }
  return release;
}
