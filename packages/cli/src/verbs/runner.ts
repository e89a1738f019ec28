import type { Command } from 'commander';
import type { Session } from '../session.ts';

export function declare(command: Command, session: Session): void {
  command
    .description(
      'Lease jobs from a server and run them. The server starts this; all it needs is in the environment: ' +
        'TREELINE_SERVER, TREELINE_RUNNER_TOKEN, TREELINE_STORE, TREELINE_RUNNER_DIR.',
    )
    .action(async () => {
      const { runnerOptionsFromEnvironment, runRunner } = await import('@treeline/runner');
      await runRunner({ ...runnerOptionsFromEnvironment(), signal: session.signal });
    });
}
