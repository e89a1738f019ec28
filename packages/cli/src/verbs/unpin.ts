import type { Pin } from '@treeline/server';
import type { Command } from 'commander';
import { CliError } from '../errors.ts';
import { paint } from '../output/colour.ts';
import { printDocument, printText } from '../output/document.ts';
import { shortId } from '../output/words.ts';
import { resolveCommit } from '../revisions.ts';
import { clientOf, optionsOf, type Session } from '../session.ts';

export function declare(command: Command, session: Session): void {
  command
    .description('Take a pin back. What nothing else keeps then goes after the grace of its repository.')
    .argument('<rev>', 'as for pin; also the first characters of a commit that is pinned')
    .option('--repository <name>', 'the pin in this repository (default: the one for wherever it is)')
    .addHelpText('after', '\nExample:\n  treeline unpin 41')
    .action(async (rev: string, _: object, self: Command) => {
      const options = optionsOf<{ repository?: string }>(self);
      const { repository } = options;
      const client = clientOf(session, options);
      const { pins } = await client.get<{ pins: Pin[] }>('pins', { repository });
      const commit = pinnedCommit(pins, rev) ?? (await resolveCommit(client, rev));
      const query = repository === undefined ? '' : `?repository=${encodeURIComponent(repository)}`;
      await client.send('DELETE', `pins/${commit}${query}`);
      if (options.json) return printDocument({ unpinned: commit, repository: repository ?? null });
      printText(`${paint('bold', shortId(commit))} is not pinned any more${repository ? ` in ${repository}` : ''}.`);
    });
}

/** A pinned commit by its beginning: the store may have lost what a repository has. */
function pinnedCommit(pins: readonly Pin[], rev: string): string | null {
  if (!/^[0-9a-f]{7,64}$/.test(rev)) return null;
  const found = [...new Set(pins.map((pin) => pin.commit).filter((commit) => commit.startsWith(rev)))];
  if (found.length > 1) {
    throw new CliError('usage', `"${rev}" begins ${found.length} pinned commits.`, { hint: 'Give more characters.' });
  }
  return found[0] ?? null;
}
