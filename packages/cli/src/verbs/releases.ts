import type { Command } from 'commander';
import { printDocument, printText } from '../output/document.ts';
import { formatAge } from '../output/duration.ts';
import { stateStyle } from '../output/run.ts';
import { formatTable } from '../output/table.ts';
import { shortId } from '../output/words.ts';
import { fetchReleases, parseChannel } from '../revisions.ts';
import { clientOf, optionsOf, type Session } from '../session.ts';

export function declare(command: Command, session: Session): void {
  command
    .description('What was published when, newest first. A star marks what a channel has now.')
    .argument('[channel]', 'REPO:CHANNEL or CHANNEL (default: all)')
    .option('--repository <name>', 'only this published repository')
    .action(async (name: string | undefined, _: object, self: Command) => {
      const options = optionsOf<{ repository?: string }>(self);
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
          answer.releases.map((release) => [
            String(release.number),
            { text: release.current ? '*' : '', style: ['bold', 'green'] },
            `${release.repository}:${release.channel}`,
            shortId(release.commit),
            { text: release.state, style: stateStyle(release.state) },
            release.message ?? release.reason,
            formatAge(Date.parse(release.publishedAt ?? release.createdAt), now),
          ]),
        ),
      );
    });
}
