import type { PrunedRepository } from '@treeline/server';
import type { Command } from 'commander';
import { CliError } from '../errors.ts';
import { printDocument, printText } from '../output/document.ts';
import { formatPruned } from '../output/retention.ts';
import { clientOf, optionsOf, type Session } from '../session.ts';

type PruneOptions = { dryRun?: boolean; store?: boolean };

export function declare(command: Command, session: Session): void {
  command
    .description(
      'Delete now what retention deletes by and by: commits that no release, pin or device keeps, after their grace, ' +
        'and what belongs to no commit. Says why the rest stays. How much is kept is a setting of the repository: ' +
        'treeline repository set NAME retention.releases=5',
    )
    .argument('[repository]', 'only this one (default: every repository, and the store)')
    .option('--store', 'only the private store')
    .option('-n, --dry-run', 'delete nothing, only say what would go, now and later')
    .addHelpText('after', '\nExample:\n  treeline prune public --dry-run')
    .action(async (repository: string | undefined, _: object, self: Command) => {
      const options = optionsOf<PruneOptions>(self);
      if (repository !== undefined && options.store) {
        throw new CliError('usage', 'Name a repository or the store, not both.', { hint: 'treeline prune --help' });
      }
      session.interruptedHint = options.dryRun ? undefined : 'The server goes on with it.';
      const answer = await clientOf(session, options).send<{ repositories: PrunedRepository[] }>(
        'POST',
        'prune',
        {
          ...(repository === undefined ? {} : { repository }),
          ...(options.store ? { store: true } : {}),
          ...(options.dryRun ? { dryRun: true } : {}),
        },
        { work: options.dryRun ? 'looking' : 'pruning' },
      );
      if (options.json) return printDocument(answer);
      const now = Date.now();
      printText(answer.repositories.map((one) => formatPruned(one, now)).join('\n\n'));
    });
}
