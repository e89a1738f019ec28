import type { PrunedRepository, Repository } from '@treeline/server';
import type { Command } from 'commander';
import type { Client } from '../connection/client.ts';
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
      const client = clientOf(session, options);
      const body = options.dryRun ? { dryRun: true } : {};
      const call = { work: options.dryRun ? 'looking' : 'pruning' };
      if (!options.dryRun) session.interruptedHint = 'The server goes on with it.';
      const paths = options.store
        ? []
        : (await namesOf(client, repository)).map((name) => `repositories/${name}/prune`);
      if (repository === undefined) paths.push('store/prune');
      const repositories: PrunedRepository[] = [];
      for (const path of paths) {
        const pruned = await client.send<PrunedRepository>('POST', path, body, call);
        if (!options.json) printText((repositories.length > 0 ? '\n' : '') + formatPruned(pruned, Date.now()));
        repositories.push(pruned);
      }
      if (options.json) printDocument({ repositories });
    });
}

async function namesOf(client: Client, only: string | undefined): Promise<string[]> {
  if (only !== undefined) return [encodeURIComponent(only)];
  const { repositories } = await client.get<{ repositories: Repository[] }>('repositories');
  return repositories.map(({ name }) => name);
}
