import type { Pin } from '@treeline/server';
import type { Command } from 'commander';
import { paint } from '../output/colour.ts';
import { printDocument, printText } from '../output/document.ts';
import { pinTable } from '../output/retention.ts';
import { oneLine } from '../output/text.ts';
import { shortId } from '../output/words.ts';
import { resolveCommit } from '../revisions.ts';
import { clientOf, optionsOf, type Session } from '../session.ts';

type PinOptions = { repository?: string; reason?: string };

export function declare(command: Command, session: Session): void {
  command
    .description(
      'Keep a commit whatever retention says, until it is unpinned. Without one: what is pinned, by whom, why.',
    )
    .argument('[rev]', 'a release number, a channel, a commit … (default: list what is pinned)')
    .option('--repository <name>', 'only in this published repository (default: wherever it is)')
    .option('--reason <text>', 'why; people will ask')
    .addHelpText('after', "\nExample:\n  treeline pin 41 --reason 'customer boards are certified with it'")
    .action(async (rev: string | undefined, _: object, self: Command) => {
      const options = optionsOf<PinOptions>(self);
      const { repository, reason } = options;
      const client = clientOf(session, options);
      if (rev === undefined) {
        const answer = await client.get<{ pins: Pin[] }>('pins', { repository });
        if (options.json) return printDocument(answer);
        if (answer.pins.length === 0) return printText('Nothing is pinned. See: treeline pin --help');
        return printText(pinTable(answer.pins, Date.now()));
      }
      const commit = await resolveCommit(client, rev);
      const pin = await client.send<Pin>('POST', 'pins', {
        commit,
        ...(repository === undefined ? {} : { repository }),
        ...(reason === undefined ? {} : { reason }),
      });
      if (options.json) return printDocument(pin);
      const where = pin.repository === null ? 'wherever it is' : `in ${oneLine(pin.repository)}`;
      const back = `treeline unpin ${shortId(pin.commit)}${pin.repository === null ? '' : ` --repository ${oneLine(pin.repository)}`}`;
      printText(`${paint('bold', shortId(pin.commit))} stays ${where}, until: ${back}`);
    });
}
