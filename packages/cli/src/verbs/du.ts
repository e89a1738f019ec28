import type { DiskUseAnswer } from '@treeline/server';
import type { Command } from 'commander';
import { formatRepositoryUse, formatRepositoryUses } from '../output/disk-use.ts';
import { printDocument, printText } from '../output/document.ts';
import { parseChannel } from '../revisions.ts';
import { clientOf, optionsOf, type Session } from '../session.ts';

export function declare(command: Command, session: Session): void {
  command
    .description(
      'What repositories take on the disk: all of them, the refs of one, or the releases of a channel; for each what ' +
        'it alone needs and what it shares with others. Sizes are those of the files as they are stored, compressed.',
    )
    .argument('[what]', 'REPO, or REPO:CHANNEL (default: every repository, and the store)')
    .addHelpText(
      'after',
      '\nExamples:\n  treeline du                     every repository\n  treeline du public              its refs' +
        '\n  treeline du public:robot/edge   the releases of a channel',
    )
    .action(async (what: string | undefined, _: object, self: Command) => {
      const options = optionsOf(self);
      const query = what === undefined ? {} : placeOf(what);
      const answer = await clientOf(session, options).get<DiskUseAnswer>('disk-use', query, { work: 'measuring' });
      if (options.json) return printDocument(answer);
      if (query.repository === undefined) return printText(formatRepositoryUses(answer));
      printText(formatRepositoryUse(answer.repositories[0]!, query.channel));
    });
}

/** A word alone is a repository; a channel may stand alone where it cannot be one, and is one of `public` then. */
function placeOf(what: string): { repository?: string; channel?: string } {
  if (/^[A-Za-z0-9][\w.-]{0,62}$/.test(what)) return { repository: what };
  const { repository = 'public', channel } = parseChannel(what);
  return { repository, channel };
}
